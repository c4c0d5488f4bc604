"""A service whose proxy hands on the path prefix below which callers reach it, such as `/ml`."""

from starlette.responses import RedirectResponse

from service.access.calls import ASGIApp, Receive, Scope, Send


class Prefixed:
    """An ASGI app, reached below a prefix and without it: health checks ask the service itself, past the proxy."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix
        self._to_slash = RedirectResponse(f"{prefix.rpartition('/')[2]}/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Remove the prefix from the path; redirect the bare prefix to the page below it.

        The redirect is relative, since a further proxy may add a prefix of its own.
        """
        if scope["type"] == "http" and scope["path"] == self._prefix:
            await self._to_slash(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"].startswith(f"{self._prefix}/"):
            # in place: while a body comes, the connection goes on writing to this scope what it knows of it
            scope["path"] = scope["path"].removeprefix(self._prefix)
            scope["root_path"] = ""  # a server may know the prefix too, and what is mounted would look for it
        await self._app(scope, receive, send)
