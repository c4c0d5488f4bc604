"""The parts of an operation for FastAPI's description: name, body, reply and errors.

Schemas are named here and defined by `document`, when it is requested: they take a tenth of the service's start.
"""

from typing import Any

from fastapi.routing import APIRoute

Json = dict[str, Any]
Responses = dict[int | str, Json]

COMPONENT = "#/components/schemas/{model}"
"""The reference to a schema in an OpenAPI document."""

REFUSALS = {
    400: "The body is not JSON.",
    401: "The key is missing or unknown.",
    403: "The scope of the key is too small.",
    404: "The model or version does not exist.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A field or a parameter has a wrong value.",
    429: "The service is overloaded; retry later.",
    431: "The head of the request is longer than 64 KiB.",
    503: "No model is ready to answer; the message has the reason.",
    504: "The deadline of the request has passed.",
}
"""Descriptions of errors, by status."""

OF_BODIES = (400, 408, 413, 415, 422)
"""Errors of operations with a body."""


def refer(model: str) -> Json:
    """Return the reference to the schema of a model in `service.api.schemas` or `service.oip.schemas`."""
    return {"$ref": COMPONENT.format(model=model)}


def reply(model: str) -> Responses:
    """Return the successful response, in JSON."""
    return {200: {"content": _json(refer(model))}}


def refusals(*statuses: int) -> Responses:
    """Return the responses with these statuses for FastAPI."""
    return {status: refusal(REFUSALS[status]) for status in statuses}


def refusal(description: str) -> Json:
    """Return a response in the form of all errors."""
    return {"description": description, "content": _json(refer("ErrorReply"))}


def json_body(model: str, example: Json) -> Json:
    """Return the body of a request."""
    return {"required": True, "content": _json(refer(model), example=example)}


def _json(schema: Json, **media: Json) -> Json:
    return {"application/json": {"schema": schema, **media}}


def operation_name(route: APIRoute) -> str:
    """Return the operationId, which names the functions of generated clients: the route's name."""
    return route.name
