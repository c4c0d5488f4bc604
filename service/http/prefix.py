"""Serve below a path prefix, such as `/ml`, that a proxy passes on."""

from service.access.calls import ASGIApp, Receive, Scope, Send


class Prefixed:
    """An ASGI app served both below a prefix and without it, as health checks do not pass through the proxy."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        """Wrap `app`; the prefix has no slash at its end."""
        from starlette.responses import RedirectResponse

        self._app = app
        self._prefix = prefix
        self._to_slash = RedirectResponse(f"{prefix.rpartition('/')[2]}/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Remove the prefix from the path; redirect the bare prefix to the page below it.

        The redirect is relative, as another proxy may add a prefix of its own.
        """
        if scope["type"] == "http" and scope["path"] == self._prefix:
            await self._to_slash(scope, receive, send)
            return
        if scope["type"] == "http" and (path := without_prefix(scope["path"], self._prefix)) != scope["path"]:
            # in place, as the connection writes to this scope while a body arrives
            scope["path"] = path
            scope["root_path"] = ""  # a server may have set the prefix, which mounted apps would expect in the path
        await self._app(scope, receive, send)


def without_prefix(path: str, prefix: str | None) -> str:
    """Return a path below the prefix without it, or any other path unchanged."""
    return path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path
