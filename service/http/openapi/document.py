"""The OpenAPI document, with examples from a loaded model."""

import asyncio
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service.api import schemas
from service.api.replies import as_sent, encode, encode_prediction, encode_uncertainty
from service.config import Settings
from service.engine.engine import Engine
from service.engine.sampling import Sampling
from service.errors import DropserveError, NotReady
from service.http import models_api
from service.http.openapi.common import CONTACT, HERE, LICENSE, TAGS, add_access, add_common_refusals
from service.http.openapi.inference import make_inference_routes
from service.http.openapi.inference_protocol import describe_paths, describe_schemas
from service.http.openapi.links import add_links
from service.http.routes import json_response
from service.inference import Request, infer
from service.model.manifest import Manifest
from service.repository.catalogue import Catalogue
from service.repository.repository import Repository

Json = dict[str, Any]


class Description:
    """The OpenAPI document as bytes, generated in a thread and cached until the loaded models change."""

    def __init__(self, app: FastAPI, repository: Repository, settings: Settings) -> None:
        """Describe the routes of `app`, with examples from `repository`."""
        self._app = app
        self._repository = repository
        self._settings = settings
        self._made: tuple[Catalogue | None, bytes] = (None, b"")

    async def content(self) -> bytes:
        """Return the document, in JSON."""
        catalogue = _catalogue_at_hand(self._repository)
        known, content = self._made
        if not content or known is not catalogue:
            content = await asyncio.to_thread(self._make)
            self._made = (catalogue, content)
        return content

    def _make(self) -> bytes:
        return encode(describe_api(self._app, self._repository, self._settings))


def make_description_router(description: Description) -> APIRouter:
    """Return the route of `/openapi.json`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    async def openapi() -> Response:
        return json_response(await description.content())

    return router


def describe_api(app: FastAPI, repository: Repository, settings: Settings) -> Json:
    """Return the OpenAPI document of `app`, with a real row as the example once a model is ready."""
    api = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=_DESCRIPTION,
        servers=[HERE],
        tags=TAGS,
        contact=CONTACT,
        license_info=LICENSE,
        routes=[*make_inference_routes().routes, *app.routes],
    )
    # the document needs no key, so it must not contain data that does
    engine = None if settings.api_keys else _engine_at_hand(repository)
    api["paths"] |= describe_paths(engine, settings)
    _add_schemas(api)
    add_links(api)
    add_access(api, keys=settings.api_keys is not None)
    add_common_refusals(api)
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
    """Return the default model's engine for examples, or None."""
    try:
        return repository.find()
    except DropserveError:
        return None


_DESCRIPTION = """
`/predict` runs the network once, without dropout. `/uncertainty` draws samples from thinned networks, each with
other units dropped, and returns their mean and how much they disagree. The same seed gives the same answer, byte for
byte.

Errors always have the form `{"error": {"code", "message", "details"}}`; below `/v2`, the paths of the Open Inference
Protocol, they have that protocol's form: `{"error": message}`.
"""


BODIES = (schemas.PredictBody, schemas.UncertaintyBody)

MAX_CATEGORIES = 20
"""The largest number of categorical features in the document."""


def _add_schemas(api: Json) -> None:
    """Add the schemas that FastAPI does not find."""
    bodies = [*BODIES] + ([schemas.LabelBody] if "/v1/review" in api["paths"] else [])
    _, definitions = models_json_schema([(body, "validation") for body in bodies], ref_template=schemas.COMPONENT)
    api["components"]["schemas"] |= definitions["$defs"] | describe_schemas()


def _add_examples(api: Json, engine: Engine, settings: Settings) -> None:
    one_row = {name: array[:1] for name, array in engine.examples.items()}
    body = {"inputs": as_sent(one_row, engine.manifest)}
    prediction = encode_prediction(engine.manifest, infer(Request(engine, one_row)).prediction)
    answer = infer(Request(engine, one_row, Sampling(settings.default_samples, seed=7)))
    sampling, sampled = answer.sampling
    uncertainty = encode_uncertainty(engine.manifest, sampling, sampled)
    for path, operations in api["paths"].items():
        for operation in operations.values():
            _name_model(operation, engine)
        if path.endswith("/predict"):
            _add_example(operations["post"], body, prediction)
        elif path.endswith("/uncertainty"):
            requested = body | {"samples": sampling.passes, "seed": sampling.seed}
            _add_example(operations["post"], requested, uncertainty)


def _name_model(operation: Json, engine: Engine) -> None:
    """Use the loaded model in the examples of a path's parameters."""
    examples = {"name": engine.manifest.name, "version": engine.manifest.version}
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in examples:
            parameter["example"] = examples[parameter["name"]]


def _add_example(operation: Json, body: Json, reply: bytes) -> None:
    operation["requestBody"]["content"]["application/json"]["example"] = body
    operation["responses"]["200"]["content"]["application/json"]["example"] = orjson.loads(reply)


def _add_categories(api: Json, manifest: Manifest) -> None:
    """Describe the category names of the loaded model."""
    if manifest.categorical is None:
        return
    of_each = [f"`{category.feature}`: {category.describe()}" for category in manifest.categorical.by_column.values()]
    more = "; …" if of_each[MAX_CATEGORIES:] else ""
    text = f"The categories of {manifest.name}: {'; '.join(of_each[:MAX_CATEGORIES])}{more}."
    for body in BODIES:
        api["components"]["schemas"][body.__name__]["properties"]["inputs"]["description"] += f" {text}"
