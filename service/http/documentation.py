"""The OpenAPI description, with examples that the served model itself answers."""

import asyncio
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service.api import schemas
from service.api.replies import as_sent, encode, encode_prediction, encode_uncertainty
from service.config import Settings
from service.engine import Engine
from service.errors import DropserveError, NotReady
from service.http import models_api
from service.http.access import describe_access
from service.http.links import add_links
from service.http.routes import json_response
from service.manifest import Manifest
from service.oip.description import describe_paths
from service.repository.catalogue import Catalogue
from service.repository.repository import Repository
from service.sampling import Sampling

Json = dict[str, Any]


class Description:
    """The description as bytes: made in a thread, and only once as long as the same models serve."""

    def __init__(self, app: FastAPI, repository: Repository, settings: Settings) -> None:
        self._app = app
        self._repository = repository
        self._settings = settings
        self._made: tuple[Catalogue | None, bytes] = (None, b"")

    async def content(self) -> bytes:
        """JSON."""
        catalogue = _catalogue_at_hand(self._repository)
        known, content = self._made
        if not content or known is not catalogue:
            content = await asyncio.to_thread(self._make)
            self._made = (catalogue, content)
        return content

    def _make(self) -> bytes:
        api = describe_api(self._app, self._repository, self._settings)
        return encode(describe_access(api) if self._settings.api_keys else api)


def make_description_router(description: Description) -> APIRouter:
    """`/openapi.json`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    async def openapi() -> Response:
        return json_response(await description.content())

    return router


def describe_api(app: FastAPI, repository: Repository, settings: Settings) -> Json:
    """The description of `app`; once a model is ready, with a real row of it as the example."""
    api = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=_DESCRIPTION,
        servers=[HERE],
        routes=[*_inference_routes().routes, *app.routes],
    )
    _add_bodies(api)
    # what a key protects is not told to those who have none: the description is open to all
    engine = None if settings.api_keys else _engine_at_hand(repository)
    api["paths"] |= describe_paths(engine, settings)
    add_links(api)
    if engine:
        _add_examples(api, engine, settings)
        _add_categories(api, engine.manifest)
        models_api.add_examples(api, repository.catalogue, engine)
    return api


def _catalogue_at_hand(repository: Repository) -> Catalogue | None:
    try:
        return repository.catalogue
    except NotReady:
        return None


def _engine_at_hand(repository: Repository) -> Engine | None:
    """Whose answers can be examples."""
    try:
        return repository.find()
    except DropserveError:
        return None


_DESCRIPTION = """
`/predict` runs the network once, without dropout. `/uncertainty` asks many thinned networks, each with
other units dropped, and tells their consensus and their disagreement. Send the same seed again and the
same networks answer, to the byte.

Errors always have the form `{"error": {"code", "message", "details"}}`; below `/v2`, where clients of the
Open Inference Protocol ask the same models, that protocol's: `{"error": message}`.
"""


HERE = {"url": ".", "description": "The service that this description comes from."}
"""Relative to the description's own URL, so that `/docs` works below any prefix."""

MODEL_PATHS = {
    "": "the default model",
    "/v1/models/{name}": "the highest version of a model",
    "/v1/models/{name}/versions/{version}": "one version of a model",
}
"""Every way to say which model is meant."""

PARAMETERS: dict[str, Json] = {
    "name": {"description": "of the model", "schema": {"type": "string"}, "example": "digits"},
    "version": {"description": "of the model", "schema": {"type": "integer", "minimum": 1}, "example": 1},
}

BODIES = (schemas.PredictBody, schemas.UncertaintyBody)

MAX_TOLD = 20
"""Categorical features in a description."""

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


async def _predict(request: Request) -> Response:
    """One pass without dropout: for each row the label and the calibrated probabilities."""
    raise NotImplementedError  # `service.http.inference` answers; this is only described


async def _uncertainty(request: Request) -> Response:
    """MC dropout: for each row what many thinned networks agree on, and how far they disagree."""
    raise NotImplementedError


def _inference_routes() -> APIRouter:
    """`/predict` and `/uncertainty` as FastAPI describes routes; their answers come from `service.http.inference`."""
    router = APIRouter(tags=["inference"])
    for path, model in MODEL_PATHS.items():
        described = {"summary": f"Answers of {model}", **_describe(path, schemas.PredictBody, schemas.Predictions)}
        router.add_api_route(f"{path}/predict", _predict, methods=["POST"], **described)
        described = {
            "summary": f"How sure {model} is",
            **_describe(path, schemas.UncertaintyBody, schemas.Uncertainties),
        }
        router.add_api_route(f"{path}/uncertainty", _uncertainty, methods=["POST"], **described)
    return router


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


def _add_bodies(api: Json) -> None:
    _, definitions = models_json_schema(
        [(body, "validation") for body in BODIES], ref_template="#/components/schemas/{model}"
    )
    api["components"]["schemas"] |= definitions["$defs"]


def _add_examples(api: Json, engine: Engine, settings: Settings) -> None:
    one_row = {name: array[:1] for name, array in engine.examples.items()}
    body = {"inputs": as_sent(one_row, engine.manifest)}
    prediction = encode_prediction(engine.manifest, engine.predict(one_row))
    sampling = Sampling(settings.default_samples, seed=7)
    uncertainty = encode_uncertainty(engine.manifest, sampling, engine.sample(one_row, sampling))
    for path, operations in api["paths"].items():
        for operation in operations.values():
            _name_model(operation, engine)
        if path.endswith("/predict"):
            _add_example(operations["post"], body, prediction)
        elif path.endswith("/uncertainty"):
            asked = body | {"samples": sampling.passes, "seed": sampling.seed}
            _add_example(operations["post"], asked, uncertainty)


def _name_model(operation: Json, engine: Engine) -> None:
    """Let the examples of a path's parameters name the model that is served."""
    examples = {"name": engine.manifest.name, "version": engine.manifest.version}
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in examples:
            parameter["example"] = examples[parameter["name"]]


def _add_example(operation: Json, body: Json, reply: bytes) -> None:
    operation["requestBody"]["content"]["application/json"]["example"] = body
    operation["responses"]["200"]["content"]["application/json"]["example"] = orjson.loads(reply)


def _add_categories(api: Json, manifest: Manifest) -> None:
    """Which names a row of the model that is served may hold."""
    if manifest.categorical is None:
        return
    of_each = [f"`{category.feature}`: {category.describe()}" for category in manifest.categorical.by_column.values()]
    told = f"The categories of {manifest.name}: {'; '.join(of_each[:MAX_TOLD])}{'; …' if of_each[MAX_TOLD:] else ''}."
    for body in BODIES:
        api["components"]["schemas"][body.__name__]["properties"]["inputs"]["description"] += f" {told}"
