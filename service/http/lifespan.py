"""Start and stop of the application, by ASGI's lifespan messages."""

import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from service.access.calls import ASGIApp, Receive, Scope, Send

State = dict[str, object]
Life = Callable[[], AbstractAsyncContextManager[State]]


class Lifespan:
    """An ASGI app whose context is entered at the start of the server and left at its end."""

    def __init__(self, app: ASGIApp, life: Life) -> None:
        """Pass requests to `app`; the server gets the state that the context of `life` yields."""
        self._app = app
        self._life = life

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run from start to end for the scope `lifespan`; pass on any other."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        phase = "startup"
        try:
            await receive()
            async with self._life() as state:
                scope.get("state", {}).update(state)  # only this service's own server reads it
                await send({"type": "lifespan.startup.complete"})
                phase = "shutdown"
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
        except BaseException:
            await send({"type": f"lifespan.{phase}.failed", "message": traceback.format_exc()})
            raise
