"""The paths below /v2 in the OpenAPI document, with examples from a loaded model."""

from typing import Any, NamedTuple

import orjson
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.api.schemas import Described
from service.config import Settings
from service.engine.engine import Engine
from service.http.openapi.operations import COMPONENT, REFUSALS, refer
from service.inference import infer
from service.oip import metadata, schemas
from service.oip.datatypes import NAMES
from service.oip.infer import plan_infer
from service.oip.messages import InferRequest, RequestedOutput
from service.oip.outputs import outputs_of
from service.oip.wire import encode_reply
from service.rows.unchecked import Tensor, TensorRows

Json = dict[str, Any]

TAG = "open inference protocol"


class Operation(NamedTuple):
    """The description of an operation."""

    name: str
    path: str
    summary: str
    description: str
    reply: type[Described]
    """The model of the reply, or with `lists` of its items."""
    refusals: tuple[int, ...] = ()
    body: type[schemas.OipBody] | None = None
    """The body of a POST; operations without one are GET."""
    lists: bool = False
    example: str = ""
    """The key of its example in `_examples`."""

    @property
    def method(self) -> str:
        """The HTTP method, in lower case."""
        return "post" if self.body else "get"


MODEL = "/v2/models/{name}"
VERSION = f"{MODEL}/versions/{{version}}"

INFER = """Return the tensors of the requested outputs, by default those of the deterministic answer. Outputs of
sampling, such as `mutual_information`, accept the parameters `samples`, `seed`, `dropout_rate`, `tolerance` and
`confidence` with their meaning in `/uncertainty`. Tensors may be sent and returned as raw bytes after the JSON, whose
length is in the header `Inference-Header-Content-Length` (extension `binary_tensor_data`). Tensors are numeric: the
value of a categorical feature is the position of its name, from 0, in the `categories` of `/v1/models/{name}`."""
INPUTS = "Return the inputs, and all outputs that can be requested."
READY = "Return 200 if it is ready."
LOAD = "Load the model beside the current versions, verify it and warm it up, then replace them."

FOUND = (400, 404, 503)
"""Errors of operations on a model."""
READ = (400, 408, 413, 415)
"""Errors of operations with a body."""
INFERRED = (*READ, 404, 503, 504)
"""Errors of inference."""


def _infer(name: str, path: str, title: str) -> Operation:
    """Return the operation of inference by a model, or by one of its versions."""
    body = schemas.InferRequest
    return Operation(name, f"{path}/infer", title, INFER, schemas.InferReply, INFERRED, body, example="infer")


OPERATIONS = (
    Operation(
        "oip_server_metadata",
        "/v2",
        "Describe the server",
        "Return its name, version and extensions of the protocol.",
        schemas.ServerMetadata,
        example="server",
    ),
    Operation(
        "oip_server_live",
        "/v2/health/live",
        "Check that the process is alive",
        "Return 200 as long as it can answer.",
        schemas.ServerLive,
    ),
    Operation(
        "oip_server_ready",
        "/v2/health/ready",
        "Check that the service is ready",
        "Return 200 once models are loaded and verified.",
        schemas.ServerReady,
        (503,),
    ),
    Operation("oip_model_metadata", MODEL, "Describe a model", INPUTS, schemas.ModelMetadata, FOUND, example="model"),
    Operation(
        "oip_version_metadata",
        VERSION,
        "Describe a version of a model",
        INPUTS,
        schemas.ModelMetadata,
        FOUND,
        example="model",
    ),
    Operation("oip_model_ready", f"{MODEL}/ready", "Check that a model is ready", READY, schemas.ModelReady, FOUND),
    Operation(
        "oip_version_ready", f"{VERSION}/ready", "Check that a version is ready", READY, schemas.ModelReady, FOUND
    ),
    _infer("oip_model_infer", MODEL, "Run inference by a model"),
    _infer("oip_version_infer", VERSION, "Run inference by a version of a model"),
    Operation(
        "oip_repository_index",
        "/v2/repository/index",
        "List models",
        "Return every version and its state.",
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
        "Unload the model; requests in flight finish.",
        schemas.Done,
        (*READ, 404, 503),
        schemas.LoadRequest,
    ),
)

PARAMETERS: dict[str, Json] = {
    "{name}": {"name": "name", "description": "Name of the model.", "schema": {"type": "string"}, "example": "digits"},
    "{version}": {
        "name": "version",
        "description": "Version of the model.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
}

TEXTS = REFUSALS | {400: "The body is not JSON, or a field or a parameter has a wrong value."}
"""Descriptions of errors: below /v2, a wrong value is a 400."""


def describe_paths(engine: Engine | None, settings: Settings) -> Json:
    """Return OpenAPI's `paths`."""
    examples = _examples(engine, settings) if engine else {}
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation, examples)
    return paths


def describe_schemas() -> Json:
    """Return the schemas to which the paths refer."""
    models: list[tuple[type[Described], JsonSchemaMode]] = [(schemas.OipError, "serialization")]
    for operation in OPERATIONS:
        models.append((operation.reply, "serialization"))
        models += [(operation.body, "validation")] if operation.body else []
    _, definitions = models_json_schema(models, ref_template=COMPONENT)
    found: Json = definitions["$defs"]
    return found


def _describe(operation: Operation, examples: Json) -> Json:
    requested, answered = examples.get(operation.example, (None, None))
    reply = refer(operation.reply.__name__)
    refused = {str(status): _json(TEXTS[status], refer("OipError")) for status in sorted(operation.refusals)}
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
        content = _json("The request.", refer(operation.body.__name__), requested)["content"]
        described["requestBody"] = {"required": required, "content": content}
    return described


def _json(description: str, schema: Json, example: Json | None = None) -> Json:
    """Return a response, or the content of a request."""
    media = {"schema": schema} | ({} if example is None else {"example": example})
    return {"description": description, "content": {"application/json": media}}


def _examples(engine: Engine, settings: Settings) -> Json:
    """Return request and reply of each example, by name."""
    manifest = engine.manifest
    return {
        "server": (None, metadata.SERVER),
        "model": (None, metadata.describe_model(manifest, [str(manifest.version)])),
        "infer": _example_of_infer(engine, settings),
    }


def _example_of_infer(engine: Engine, settings: Settings) -> tuple[Json, Json]:
    """Return a request for one row with an output of each kind, and its reply."""
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
    rows = TensorRows({name: Tensor(array.ravel(), array.dtype, 1) for name, array in row.items()})
    named = (RequestedOutput(first), RequestedOutput(spread))
    requested = InferRequest(rows, named, parameters, id="42", binary=False)
    planned, chosen = plan_infer(engine, requested, settings)
    content = encode_reply(requested.id, chosen, infer(planned), slice(0, 1)).content
    return request, orjson.loads(content)
