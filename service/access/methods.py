"""The HTTP methods of a path: wherever GET is allowed, HEAD is too, with the same answer but no body."""

from collections.abc import Iterable

from service.access.calls import Scope
from service.errors import MethodNotAllowed
from service.telemetry.records import Record


def as_get(scope: Scope) -> Scope:
    """Return the scope of a HEAD request as one of GET; the server then omits the body."""
    return {**scope, "method": "GET"}


def expect_method(record: Record, method: str) -> None:
    """Raise MethodNotAllowed unless the request has this method, or is a HEAD request where GET is allowed."""
    if record.method != method and (record.method, method) != ("HEAD", "GET"):
        message = f"{record.path[:200]}: expected {method}, found {record.method}"
        raise MethodNotAllowed(message, allowed=allow([method]))


def allow(methods: Iterable[str]) -> str:
    """Return the value of the header Allow."""
    return ", ".join("GET, HEAD" if method == "GET" else method for method in methods)
