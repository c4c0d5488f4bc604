"""The OpenAPI document, with examples from a loaded model."""

import re
from collections.abc import Iterable
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.api import schemas
from service.api.replies import as_sent, encode_prediction, encode_uncertainty
from service.config import Settings
from service.engine.engine import Engine
from service.engine.sampling import Sampling
from service.errors import DropserveError
from service.http import models_api
from service.http.openapi.common import CONTACT, HERE, LICENSE, TAGS, add_access, add_common_refusals
from service.http.openapi.inference import make_inference_routes
from service.http.openapi.inference_protocol import describe_paths, describe_schemas
from service.http.openapi.links import add_links
from service.http.openapi.operations import COMPONENT
from service.inference import Request, infer
from service.model.manifest import Manifest
from service.repository.repository import Repository

Json = dict[str, Any]


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
    api["components"] = {"schemas": _define(_referred(api["paths"])) | describe_schemas()}
    api["paths"] |= describe_paths(engine, settings)
    add_links(api)
    add_access(api, keys=settings.api_keys is not None)
    add_common_refusals(api)
    if engine:
        _add_examples(api, engine, settings)
        _add_categories(api, engine.manifest)
        models_api.add_examples(api, repository.catalogue, engine)
    return api


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


def _referred(paths: Json) -> list[str]:
    """Return the names of the schemas to which the paths refer."""
    return sorted(set(re.findall(COMPONENT.format(model=r"(\w+)"), orjson.dumps(paths).decode())))


def _define(names: Iterable[str]) -> Json:
    """Return the schemas of `service.api.schemas` with these names, and those to which they refer."""
    models: list[type[schemas.Described]] = [getattr(schemas, name) for name in names]
    modes: list[tuple[type[schemas.Described], JsonSchemaMode]] = [
        (model, "validation" if issubclass(model, schemas.Body) else "serialization") for model in models
    ]
    _, definitions = models_json_schema(modes, ref_template=COMPONENT)
    found: Json = definitions["$defs"]
    for field in [field for schema in found.values() for field in schema.get("properties", {}).values()]:
        if field.get("default", ...) is None:
            del field["default"]  # generators of clients treat fields with a default as required
    return found


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
