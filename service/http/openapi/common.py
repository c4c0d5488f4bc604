"""What the operations of an OpenAPI description have in common: addresses, authorisation, refusals."""

from typing import Any

from service.access.keys import needed_scope
from service.api import schemas
from service.http.gate import is_open_inference
from service.http.openapi.operations import REFUSALS
from service.oip.schemas import OipError

Json = dict[str, Any]

HERE = {"url": ".", "description": "The service that this description comes from."}
"""Relative to the description's own URL, so that `/docs` works below any prefix."""

CONTACT: dict[str, str | Any] = {"name": "The Dropserve project"}
LICENSE: dict[str, str | Any] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}

TAGS: list[Json] = [
    {"name": "inference", "description": "Predictions, and how sure the network is of them."},
    {"name": "models", "description": "The models and their versions: what each says of itself; loading, unloading."},
    {"name": "files", "description": "What a model has for people to read."},
    {"name": "review", "description": "Rows of the prediction log, which people label; where the service keeps one."},
    {"name": "health", "description": "Whether the service is alive and ready, and what it counted."},
    {
        "name": "open inference protocol",
        "description": "The same models by version 2 of the protocol that Triton and KServe speak.",
    },
]

SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
"""How a caller sends a key."""

SECONDS = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
SCHEME = {"description": "How to send a key.", "schema": {"type": "string"}}
HEADERS: Json = {"401": {"WWW-Authenticate": SCHEME}, "429": {"Retry-After": SECONDS}, "503": {"Retry-After": SECONDS}}
"""By status: the headers of a refusal."""


def add_access(api: Json, *, keys: bool) -> None:
    """What needs a key, where there are keys."""
    api["security"] = []
    if not keys:
        return
    api["components"]["securitySchemes"] = SCHEMES
    for path, operations in api["paths"].items():
        guarded = needed_scope(path) is not None
        for operation in operations.values():
            operation["security"] = [{name: []} for name in SCHEMES] if guarded else []
            if guarded:
                _add_refusals(operation, _form(path), 401, 403)


def add_common_refusals(api: Json) -> None:
    """What any operation may refuse, and the headers of refusals."""
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            if method == "post":  # which is refused where it waited too long to be read
                _add_refusals(operation, _form(path), 429)
            _add_refusals(operation, schemas.ErrorReply, 431)  # by the connection, which knows no paths
            for status, headers in HEADERS.items():
                if status in operation["responses"]:
                    operation["responses"][status]["headers"] = headers
            operation["responses"] = dict(sorted(operation["responses"].items()))


def _form(path: str) -> type[schemas.Reply]:
    return OipError if is_open_inference(path) else schemas.ErrorReply


def _add_refusals(operation: Json, form: type[schemas.Reply], *statuses: int) -> None:
    content = {"application/json": {"schema": {"$ref": schemas.COMPONENT.format(model=form.__name__)}}}
    for status in statuses:
        operation["responses"].setdefault(str(status), {"description": REFUSALS[status], "content": content})
