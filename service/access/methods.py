"""Which methods a path takes: HEAD wherever GET, with the same answer but for its body."""

from collections.abc import Iterable

from service.access.calls import Scope
from service.errors import MethodNotAllowed
from service.telemetry.records import Record


def as_get(scope: Scope) -> Scope:
    """What HEAD asks for; the server, which knows what was asked, leaves the body out."""
    return {**scope, "method": "GET"}


def expect_method(record: Record, method: str) -> None:
    """Raises MethodNotAllowed where another is asked for."""
    if record.method != method and (record.method, method) != ("HEAD", "GET"):
        message = f"{record.path[:200]}: expected {method}, found {record.method}"
        raise MethodNotAllowed(message, allowed=allow([method]))


def allow(methods: Iterable[str]) -> str:
    """The value of the header Allow."""
    return ", ".join("GET, HEAD" if method == "GET" else method for method in methods)
