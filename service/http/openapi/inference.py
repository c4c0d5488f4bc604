"""`/predict` and `/uncertainty` as FastAPI routes, only to describe them in the OpenAPI document."""

from typing import Any

from fastapi import APIRouter, Request, Response

from service.http.openapi.operations import OF_BODIES, json_body, operation_name, refusals, reply

Json = dict[str, Any]

MODELS = {
    "": ("", "the default model"),
    "/v1/models/{name}": ("_of_model", "the default version of a model"),
    "/v1/models/{name}/versions/{version}": ("_of_version", "a version of a model"),
}
"""The end of the operation's name, and the model in words, by the path."""

PARAMETERS: dict[str, Json] = {
    "name": {"description": "Name of the model.", "schema": {"type": "string"}, "example": "digits"},
    "version": {"description": "Version of the model.", "schema": {"type": "integer", "minimum": 1}, "example": 1},
}
"""Parameters of paths."""

EXAMPLE: Json = {"inputs": [[5.1, 3.5, 1.4, 0.2]]}
"""The example of a body while no model is loaded."""


def make_inference_routes() -> APIRouter:
    """Return the routes, which are described but never called."""
    router = APIRouter(tags=["inference"], generate_unique_id_function=operation_name)
    for path, (end, model) in MODELS.items():
        router.add_api_route(
            f"{path}/predict",
            _predict,
            name=f"predict{end}",
            summary=f"Predict with {model}",
            **_describe(path, "PredictBody", "PredictReply"),
        )
        router.add_api_route(
            f"{path}/uncertainty",
            _uncertainty,
            name=f"uncertainty{end}",
            summary=f"Predict with uncertainty, with {model}",
            **_describe(path, "UncertaintyBody", "UncertaintyReply"),
        )
    return router


async def _predict(request: Request) -> Response:
    """Run the network once without dropout and return the answer for each row, such as calibrated probabilities."""
    raise NotImplementedError


async def _uncertainty(request: Request) -> Response:
    """Draw samples from thinned networks (MC dropout) and return their mean and uncertainty for each row."""
    raise NotImplementedError


def _describe(path: str, body: str, answer: str) -> dict[str, Any]:
    """Return the description of a route that reads and writes bytes, of which FastAPI knows no types."""
    parameters = [
        {"name": name, "in": "path", "required": True, **parameter}
        for name, parameter in PARAMETERS.items()
        if f"{{{name}}}" in path
    ]
    return {
        "methods": ["POST"],
        "responses": reply(answer) | refusals(404, *OF_BODIES, 503, 504),
        "openapi_extra": {"requestBody": json_body(body, EXAMPLE), "parameters": parameters},
    }
