"""The OpenAPI description, with examples that the served model itself answers."""

from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service import schemas
from service.config import Settings
from service.engine import Engine, Inputs
from service.errors import DropserveError
from service.replies import encode_prediction, encode_uncertainty
from service.repository import Repository

Json = dict[str, Any]


def describe_api(app: FastAPI, repository: Repository, settings: Settings) -> Json:
    """The description of `app`; once a model is ready, with a real row of it as the example."""
    api = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=_DESCRIPTION, routes=app.routes
    )
    _add_bodies(api)
    try:
        engine = repository.find()
    except DropserveError:
        return api
    _add_examples(api, engine, settings)
    return api


_DESCRIPTION = """
`/predict` runs the network once, without dropout. `/uncertainty` asks many thinned networks, each with
other units dropped, and tells their consensus and their disagreement. Send the same seed again and the
same networks answer, to the byte.

Errors always have the form `{"error": {"code", "message", "details"}}`.
"""


def _add_bodies(api: Json) -> None:
    bodies = (schemas.PredictBody, schemas.UncertaintyBody)
    _, definitions = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    api["components"]["schemas"] |= definitions["$defs"]


def _add_examples(api: Json, engine: Engine, settings: Settings) -> None:
    one_row = {name: array[:1] for name, array in engine.examples.items()}
    body = {"inputs": _to_json(one_row)}
    prediction = encode_prediction(engine.manifest, engine.predict(one_row))
    samples = min(settings.samples, settings.max_samples)
    sampled = engine.sample(one_row, samples, seed=7)
    for path, operations in api["paths"].items():
        for operation in operations.values():
            _name_model(operation, engine)
        if path.endswith("/predict"):
            _add_example(operations["post"], body, prediction)
        elif path.endswith("/uncertainty"):
            asked = body | {"samples": samples, "seed": 7}
            _add_example(operations["post"], asked, encode_uncertainty(engine.manifest, sampled))


def _name_model(operation: Json, engine: Engine) -> None:
    """Let the examples of a path's parameters name the model that is served."""
    examples = {"name": engine.manifest.name, "version": engine.manifest.version}
    for parameter in operation.get("parameters", ()):
        parameter["example"] = examples[parameter["name"]]


def _add_example(operation: Json, body: Json, reply: bytes) -> None:
    operation["requestBody"]["content"]["application/json"]["example"] = body
    operation["responses"]["200"]["content"]["application/json"]["example"] = orjson.loads(reply)


def _to_json(inputs: Inputs) -> Any:
    arrays = {name: array.tolist() for name, array in inputs.items()}
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))
