"""What FastAPI takes of an operation for its description: the name, the body, the refusals."""

from typing import Any

from fastapi.routing import APIRoute

from service.api import schemas

Json = dict[str, Any]
Responses = dict[int | str, Json]

REFUSALS = {
    400: "The body is not JSON.",
    401: "No key was sent, or one that is not known.",
    403: "The scope of the key is too small.",
    404: "There is no such model or version.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A field or a parameter has a wrong value.",
    429: "The service is too busy; come back later.",
    431: "The head of the request is longer than 64 KiB.",
    503: "Nothing serves that could answer; the message says why.",
    504: "The answer takes longer than the deadline allows.",
}
"""By status: the description."""

OF_BODIES = (400, 408, 413, 415, 422)
"""What an operation that reads a body may refuse."""


def refusals(*statuses: int) -> Responses:
    """Responses with these statuses, as FastAPI takes them."""
    return {status: refusal(REFUSALS[status]) for status in statuses}


def refusal(description: str) -> Json:
    """A response in the form that all errors have."""
    return {"model": schemas.ErrorReply, "description": description}


def json_body(body: type[schemas.Body], example: Json) -> Json:
    """The body of a request, whose schema stands among the components."""
    media = {"schema": {"$ref": schemas.COMPONENT.format(model=body.__name__)}, "example": example}
    return {"required": True, "content": {"application/json": media}}


def operation_name(route: APIRoute) -> str:
    """The operationId, by which generated clients name their functions: the name of the route's function."""
    return route.name
