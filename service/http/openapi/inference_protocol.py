"""What is below /v2, as OpenAPI describes it; with a model at hand, its own answers are the examples."""

from typing import Any, NamedTuple

import orjson
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.api.schemas import COMPONENT, Described
from service.config import Settings
from service.engine.engine import Engine
from service.engine.stages import Stopwatch
from service.engine.steps import finish
from service.http.openapi.operations import REFUSALS
from service.oip import metadata, schemas
from service.oip.datatypes import NAMES
from service.oip.infer import infer_steps
from service.oip.messages import InferRequest, RequestedOutput
from service.oip.outputs import outputs_of
from service.oip.wire import encode_reply

Json = dict[str, Any]

TAG = "open inference protocol"


class Operation(NamedTuple):
    """A path and what it does."""

    name: str
    path: str
    summary: str
    description: str
    reply: type[Described]
    """A list of these: `lists`."""
    refusals: tuple[int, ...] = ()
    body: type[schemas.OipBody] | None = None
    """Of a POST; without one, it is a GET."""
    lists: bool = False
    example: str = ""
    """Which of `_examples` it has."""

    @property
    def method(self) -> str:
        """As OpenAPI writes it."""
        return "post" if self.body else "get"


MODEL = "/v2/models/{name}"
VERSION = f"{MODEL}/versions/{{version}}"

INFER = """For each output asked for its tensor; none asked for: those of the deterministic answer. Outputs of the
sampling, such as `mutual_information`, go with the parameters `samples`, `seed`, `dropout_rate`, `tolerance` and
`confidence`, which mean what they mean to `/uncertainty`. Tensors may be sent and answered as raw bytes behind the
JSON, whose length `Inference-Header-Content-Length` tells (extension `binary_tensor_data`). Tensors are of numbers: in
the place of a categorical feature stands the number of a category, its position, from 0, in the `categories` that
`/v1/models/{name}` tells."""
INPUTS = "Its inputs, and all outputs that can be asked for."
READY = "200 when it can be asked."
LOAD = "It is verified and warmed up beside what serves, then swapped in."

FOUND = (400, 404, 503)
"""What an operation on a model may refuse."""
READ = (400, 408, 413, 415)
"""What an operation with a body may refuse."""
ASKED = (*READ, 404, 503, 504)


def _infer(name: str, path: str, title: str) -> Operation:
    """Inference by a model, or by one of its versions."""
    body = schemas.InferRequest
    return Operation(name, f"{path}/infer", title, INFER, schemas.InferReply, ASKED, body, example="infer")


OPERATIONS = (
    Operation(
        "oip_server_metadata",
        "/v2",
        "The server",
        "Its name, version and extensions of the protocol.",
        schemas.ServerMetadata,
        example="server",
    ),
    Operation(
        "oip_server_live",
        "/v2/health/live",
        "Is the process alive?",
        "200 as long as it answers at all.",
        schemas.ServerLive,
    ),
    Operation(
        "oip_server_ready",
        "/v2/health/ready",
        "Can it serve?",
        "200 when models are loaded and verified.",
        schemas.ServerReady,
        (503,),
    ),
    Operation("oip_model_metadata", MODEL, "A model", INPUTS, schemas.ModelMetadata, FOUND, example="model"),
    Operation(
        "oip_version_metadata", VERSION, "A version of a model", INPUTS, schemas.ModelMetadata, FOUND, example="model"
    ),
    Operation("oip_model_ready", f"{MODEL}/ready", "Is a model ready?", READY, schemas.ModelReady, FOUND),
    Operation("oip_version_ready", f"{VERSION}/ready", "Is a version ready?", READY, schemas.ModelReady, FOUND),
    _infer("oip_model_infer", MODEL, "Ask a model"),
    _infer("oip_version_infer", VERSION, "Ask a version of a model"),
    Operation(
        "oip_repository_index",
        "/v2/repository/index",
        "Which models are there?",
        "Every version, and whether it serves.",
        schemas.IndexEntry,
        (*READ, 503),
        schemas.IndexRequest,
        lists=True,
    ),
    Operation(
        "oip_load_model",
        "/v2/repository/models/{name}/load",
        "Load a model",
        LOAD,
        schemas.Done,
        (*READ, 404, 503),
        schemas.LoadRequest,
    ),
    Operation(
        "oip_unload_model",
        "/v2/repository/models/{name}/unload",
        "Unload a model",
        "Requests in flight are finished.",
        schemas.Done,
        (*READ, 404, 503),
        schemas.LoadRequest,
    ),
)

PARAMETERS: dict[str, Json] = {
    "{name}": {"name": "name", "description": "Of the model.", "schema": {"type": "string"}, "example": "digits"},
    "{version}": {
        "name": "version",
        "description": "Of the model.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
}

TEXTS = REFUSALS | {400: "The body is not JSON, or a field or a parameter has a wrong value."}
"""Of refusals: below /v2, a wrong value is 400."""


def describe_paths(engine: Engine | None, settings: Settings) -> Json:
    """OpenAPI's `paths`."""
    examples = _examples(engine, settings) if engine else {}
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation, examples)
    return paths


def describe_schemas() -> Json:
    """The schemas that the paths refer to."""
    models: list[tuple[type[Described], JsonSchemaMode]] = [(schemas.OipError, "serialization")]
    for operation in OPERATIONS:
        models.append((operation.reply, "serialization"))
        models += [(operation.body, "validation")] if operation.body else []
    _, definitions = models_json_schema(models, ref_template=COMPONENT)
    found: Json = definitions["$defs"]
    return found


def _describe(operation: Operation, examples: Json) -> Json:
    asked, answered = examples.get(operation.example, (None, None))
    reply = _refer(operation.reply)
    refused = {str(status): _json(TEXTS[status], _refer(schemas.OipError)) for status in sorted(operation.refusals)}
    described: Json = {
        "tags": [TAG],
        "summary": operation.summary,
        "description": operation.description,
        "operationId": operation.name,
        "parameters": [
            {"in": "path", "required": True, **parameter}
            for place, parameter in PARAMETERS.items()
            if place in operation.path
        ],
        "responses": {
            "200": _json("Done.", {"type": "array", "items": reply} if operation.lists else reply, answered),
            **refused,
        },
    }
    if operation.body:
        required = operation.body is schemas.InferRequest
        content = _json("The request.", _refer(operation.body), asked)["content"]
        described["requestBody"] = {"required": required, "content": content}
    return described


def _refer(model: type[Described]) -> Json:
    return {"$ref": COMPONENT.format(model=model.__name__)}


def _json(description: str, schema: Json, example: Json | None = None) -> Json:
    """A response, or what of it is a request's too."""
    media = {"schema": schema} | ({} if example is None else {"example": example})
    return {"description": description, "content": {"application/json": media}}


def _examples(engine: Engine, settings: Settings) -> Json:
    """Request and reply, by the name of the example."""
    manifest = engine.manifest
    return {
        "server": (None, metadata.SERVER),
        "model": (None, metadata.describe_model(manifest, [str(manifest.version)])),
        "infer": _example_of_infer(engine, settings),
    }


def _example_of_infer(engine: Engine, settings: Settings) -> tuple[Json, Json]:
    """A row, and one output of each half."""
    manifest = engine.manifest
    outputs = outputs_of(manifest)
    first = next(iter(outputs))
    spread = "mutual_information" if "mutual_information" in outputs else "total_std"
    row = {name: array[:1] for name, array in engine.examples.items()}
    parameters = {"samples": settings.default_samples, "seed": 7}
    request: Json = {
        "id": "42",
        "inputs": [
            {
                "name": spec.name,
                "shape": list(row[spec.name].shape),
                "datatype": NAMES[spec.dtype],
                "data": row[spec.name].ravel().tolist(),
            }
            for spec in manifest.inputs
        ],
        "outputs": [{"name": first}, {"name": spread}],
        "parameters": parameters,
    }
    asked = InferRequest(row, (RequestedOutput(first), RequestedOutput(spread)), parameters, id="42")
    content, _, _ = encode_reply(finish(infer_steps(engine, asked, settings, Stopwatch())))
    return request, orjson.loads(content)
