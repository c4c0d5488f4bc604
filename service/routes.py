"""The HTTP routes: each translates a request for the core, and the core's answer back."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service import schemas
from service.config import Settings
from service.engine import Engine, Steps
from service.errors import BodyTooLarge, InvalidInput, UnsupportedMediaType
from service.replies import encode, encode_prediction, encode_uncertainty
from service.repository import Repository
from service.requests import (
    PredictRequest,
    UncertaintyRequest,
    check_samples,
    choose_seed,
    decode_inputs,
    decode_request,
)
from service.scheduling import Scheduler

DECODE_SECONDS_PER_BYTE = 5e-9
"""Of JSON numbers into an array; so a long body is decoded in the thread, not on the event loop."""

MODEL_PATHS = {
    "": "the default model",
    "/v1/models/{name}": "the highest version of a model",
    "/v1/models/{name}/versions/{version}": "one version of a model",
}
"""Every way to say which model is meant."""

PARAMETERS: dict[str, dict[str, Any]] = {
    "name": {"description": "of the model", "schema": {"type": "string"}, "example": "digits"},
    "version": {"description": "of the model", "schema": {"type": "integer", "minimum": 1}, "example": 1},
}

REFUSALS = {
    400: "not JSON",
    404: "no such model",
    413: "the body is too large",
    415: "not application/json",
    422: "a field has a wrong value",
    429: "too busy, come back later",
    503: "no model is ready",
    504: "took too long",
}


class Inference:
    """The two questions that a model answers: what, and how sure."""

    def __init__(self, repository: Repository, scheduler: Scheduler, settings: Settings) -> None:
        self._repository = repository
        self._scheduler = scheduler
        self._settings = settings

    async def predict(self, request: Request) -> Response:
        """One pass without dropout: for each row the label and the calibrated probabilities."""
        return await self._answer(request, self._predict_steps)

    async def uncertainty(self, request: Request) -> Response:
        """MC dropout: for each row what many thinned networks agree on, and how far they disagree."""
        return await self._answer(request, self._uncertainty_steps)

    async def _answer(self, request: Request, steps: Callable[[Engine, bytes], Steps[bytes]]) -> Response:
        engine = self._repository.find(request.path_params.get("name"), _version(request))
        body = await read_json_body(request, self._settings.max_body_bytes)
        return json_response(await self._scheduler.run(steps(engine, body), self._settings.request_timeout))

    def _predict_steps(self, engine: Engine, body: bytes) -> Steps[bytes]:
        yield len(body) * DECODE_SECONDS_PER_BYTE
        request = decode_request(body, PredictRequest)
        inputs = decode_inputs(request.inputs, engine.manifest, self._settings.max_rows)
        prediction = yield from engine.predict_steps(inputs)
        return encode_prediction(engine.manifest, prediction)

    def _uncertainty_steps(self, engine: Engine, body: bytes) -> Steps[bytes]:
        yield len(body) * DECODE_SECONDS_PER_BYTE
        settings = self._settings
        request = decode_request(body, UncertaintyRequest)
        inputs = decode_inputs(request.inputs, engine.manifest, settings.max_rows)
        passes = request.samples or min(settings.samples, settings.max_samples)
        check_samples(passes, len(next(iter(inputs.values()))), settings.max_samples, settings.max_row_samples)
        sampled = yield from engine.sample_steps(inputs, passes, choose_seed(request.seed, settings.seed))
        return encode_uncertainty(engine.manifest, sampled)


def make_inference_router(inference: Inference) -> APIRouter:
    """`/predict` and `/uncertainty`, of whichever model is meant."""
    router = APIRouter(tags=["inference"])
    for path, model in MODEL_PATHS.items():
        described = {"summary": f"Answers of {model}", **_describe(path, schemas.PredictBody, schemas.Predictions)}
        router.add_api_route(f"{path}/predict", inference.predict, methods=["POST"], **described)
        described = {
            "summary": f"How sure {model} is",
            **_describe(path, schemas.UncertaintyBody, schemas.Uncertainties),
        }
        router.add_api_route(f"{path}/uncertainty", inference.uncertainty, methods=["POST"], **described)
    return router


def make_health_router(repository: Repository) -> APIRouter:
    """What a load balancer, or a person, asks first."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", response_model=schemas.Alive, summary="Is the process alive?")
    async def healthz() -> Response:
        """200 as long as the process answers at all."""
        return json_response(encode({"status": "alive"}))

    unready = {503: {"model": schemas.ErrorReply, "description": "not ready, and why"}}

    @router.get("/readyz", response_model=schemas.Ready, responses=unready, summary="Can it serve?")  # type: ignore[arg-type]
    async def readyz() -> Response:
        """200 when models are loaded and verified, else 503 with the reason."""
        return json_response(encode(repository.status()))

    @router.get("/", include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse("docs")

    return router


def json_response(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON that is encoded already."""
    return Response(content, status, headers, "application/json")


async def read_json_body(request: Request, max_bytes: int) -> bytes:
    """The body, read no further than allowed; raises UnsupportedMediaType or BodyTooLarge."""
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        message = f"content-type: expected application/json, found {media_type}"
        raise UnsupportedMediaType(message, field="content-type", expected="application/json")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge(f"the body: expected at most {max_bytes} bytes", limit=max_bytes)
    return b"".join(chunks)


def _version(request: Request) -> int | None:
    text = request.path_params.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidInput(f"version: expected a whole number, found {text}", field="version")
    return int(text)


def _describe(path: str, body: type[schemas.Described], reply: type[schemas.Described]) -> dict[str, Any]:
    """What FastAPI cannot see of a route that reads and writes bytes."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}}
    parameters = [
        {"name": name, "in": "path", "required": True, **parameter}
        for name, parameter in PARAMETERS.items()
        if f"{{{name}}}" in path
    ]
    return {
        "response_model": reply,
        "responses": {status: {"model": schemas.ErrorReply, "description": text} for status, text in REFUSALS.items()},
        "openapi_extra": {"requestBody": {"required": True, "content": content}, "parameters": parameters},
    }
