"""An app that is made when the first request needs it."""

import asyncio
import gc
from collections.abc import Callable

from service.access.calls import ASGIApp, Receive, Scope, Send


class Deferred:
    """An ASGI app that `make` imports and makes in a thread, while other requests are answered."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        """Make the app once; after an error the next request tries again."""
        self._make = make
        self._app: ASGIApp | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, the first ones when the app is made."""
        app = self._app or await self._made()
        await app(scope, receive, send)

    async def _made(self) -> ASGIApp:
        async with self._making:
            if self._app is None:
                self._app = await asyncio.to_thread(self._make)
                gc.freeze()  # as at the start: modules and routes live as long as the process
            return self._app
