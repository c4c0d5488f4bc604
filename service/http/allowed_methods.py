"""The methods that the routes of a path allow, for the header Allow of a 405."""

from collections.abc import Iterable

from starlette.routing import BaseRoute, Match, Mount

from service.access.calls import Scope, allow

KNOWN = ("GET", "POST", "PUT", "PATCH", "DELETE")


def find_allowed(routes: Iterable[BaseRoute], scope: Scope) -> str:
    """Return the methods that the routes allow at the path of a request; mounted files allow GET."""
    routes = [route for route in routes if not isinstance(route, Mount)]
    return allow([method for method in KNOWN if any(_takes(route, scope, method) for route in routes)] or ["GET"])


def _takes(route: BaseRoute, scope: Scope, method: str) -> bool:
    return route.matches({**scope, "method": method})[0] is Match.FULL
