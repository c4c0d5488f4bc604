"""Which methods a path takes: HEAD wherever GET, with the same answer but for its body."""

from collections.abc import Iterable

from starlette.routing import BaseRoute, Match, Mount

from service.errors import MethodNotAllowed
from service.http.calls import Scope
from service.telemetry.records import Record

KNOWN = ("GET", "POST", "PUT", "PATCH", "DELETE")


def as_get(scope: Scope) -> Scope:
    """What HEAD asks for; the server, which knows what was asked, leaves the body out."""
    return {**scope, "method": "GET"}


def expect_method(record: Record, method: str) -> None:
    """Raises MethodNotAllowed where another is asked for."""
    if record.method != method and (record.method, method) != ("HEAD", "GET"):
        message = f"{record.path[:200]}: expected {method}, found {record.method}"
        raise MethodNotAllowed(message, allowed=allow([method]))


def find_allowed(routes: Iterable[BaseRoute], scope: Scope) -> str:
    """What any of these routes allows at the path of a request; the files of a mount may be got."""
    routes = [route for route in routes if not isinstance(route, Mount)]
    return allow([method for method in KNOWN if any(_takes(route, scope, method) for route in routes)] or ["GET"])


def allow(methods: Iterable[str]) -> str:
    """The value of the header Allow."""
    return ", ".join("GET, HEAD" if method == "GET" else method for method in methods)


def _takes(route: BaseRoute, scope: Scope, method: str) -> bool:
    return route.matches({**scope, "method": method})[0] is Match.FULL
