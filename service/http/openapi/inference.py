"""`/predict` and `/uncertainty` as FastAPI describes routes; their answers come from `service.http.inference`."""

from typing import Any

from fastapi import APIRouter, Request, Response

from service.api import schemas
from service.http.openapi.operations import OF_BODIES, json_body, operation_name, refusals

Json = dict[str, Any]

MODELS = {
    "": ("", "the default model"),
    "/v1/models/{name}": ("_of_model", "the default version of a model"),
    "/v1/models/{name}/versions/{version}": ("_of_version", "a version of a model"),
}
"""Every way to say which model is meant: by the path, the end of the operation's name, and words."""

PARAMETERS: dict[str, Json] = {
    "name": {"description": "Of the model.", "schema": {"type": "string"}, "example": "digits"},
    "version": {"description": "Of the model.", "schema": {"type": "integer", "minimum": 1}, "example": 1},
}
"""Of the path."""

EXAMPLE: Json = {"inputs": [[5.1, 3.5, 1.4, 0.2]]}
"""Of a body, where no model is known whose rows it could hold."""


def make_inference_routes() -> APIRouter:
    """The routes, only to be described."""
    router = APIRouter(tags=["inference"], generate_unique_id_function=operation_name)
    for path, (end, model) in MODELS.items():
        router.add_api_route(
            f"{path}/predict",
            _predict,
            name=f"predict{end}",
            summary=f"Predict with {model}",
            **_describe(path, schemas.PredictBody, schemas.PredictReply),
        )
        router.add_api_route(
            f"{path}/uncertainty",
            _uncertainty,
            name=f"uncertainty{end}",
            summary=f"How sure {model} is",
            **_describe(path, schemas.UncertaintyBody, schemas.UncertaintyReply),
        )
    return router


async def _predict(request: Request) -> Response:
    """One pass without dropout: for each row the label and the calibrated probabilities."""
    raise NotImplementedError


async def _uncertainty(request: Request) -> Response:
    """MC dropout: for each row what many thinned networks agree on, and how far they disagree."""
    raise NotImplementedError


def _describe(path: str, body: type[schemas.Body], reply: type[schemas.Reply]) -> dict[str, Any]:
    """What FastAPI cannot see of a route that reads and writes bytes."""
    parameters = [
        {"name": name, "in": "path", "required": True, **parameter}
        for name, parameter in PARAMETERS.items()
        if f"{{{name}}}" in path
    ]
    return {
        "methods": ["POST"],
        "response_model": reply,
        "responses": refusals(404, *OF_BODIES, 503, 504),
        "openapi_extra": {"requestBody": json_body(body, EXAMPLE), "parameters": parameters},
    }
