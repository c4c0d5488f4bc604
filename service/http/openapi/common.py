"""The common parts of operations in the OpenAPI document: servers, authorisation and errors."""

from typing import Any

from service.access.keys import needed_scope
from service.http.gate import is_open_inference
from service.http.openapi.operations import REFUSALS, refer

Json = dict[str, Any]

HERE = {"url": ".", "description": "This service."}
"""Relative to the document's own URL, so that `/docs` works below any prefix."""

CONTACT: dict[str, str | Any] = {"name": "The Dropserve project"}
LICENSE: dict[str, str | Any] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}

TAGS: list[Json] = [
    {"name": "inference", "description": "Predictions and their uncertainty."},
    {"name": "models", "description": "List, describe, load and unload models."},
    {"name": "files", "description": "Documents of a model."},
    {"name": "review", "description": "Review and label rows of the prediction log, if it is enabled."},
    {"name": "health", "description": "Health checks and metrics."},
    {
        "name": "open inference protocol",
        "description": "The same models by version 2 of the protocol of Triton and KServe.",
    },
]

SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
"""The ways to send a key."""

SECONDS = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
SCHEME = {"description": "How to send a key.", "schema": {"type": "string"}}
HEADERS: Json = {"401": {"WWW-Authenticate": SCHEME}, "429": {"Retry-After": SECONDS}, "503": {"Retry-After": SECONDS}}
"""Headers of errors, by status."""


def add_access(api: Json, *, keys: bool) -> None:
    """Mark the operations that need a key, if there are keys."""
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
    """Add the errors of any operation, and the headers of errors."""
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            if method == "post":  # may wait too long in the socket
                _add_refusals(operation, _form(path), 429)
            _add_refusals(operation, "ErrorReply", 431)  # sent by the connection, before the path is known
            for status, headers in HEADERS.items():
                if status in operation["responses"]:
                    operation["responses"][status]["headers"] = headers
            operation["responses"] = dict(sorted(operation["responses"].items()))


def _form(path: str) -> str:
    return "OipError" if is_open_inference(path) else "ErrorReply"


def _add_refusals(operation: Json, form: str, *statuses: int) -> None:
    content = {"application/json": {"schema": refer(form)}}
    for status in statuses:
        operation["responses"].setdefault(str(status), {"description": REFUSALS[status], "content": content})
