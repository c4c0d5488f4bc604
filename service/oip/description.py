"""What is below /v2, as OpenAPI describes it; with a model at hand, its own answers are the examples."""

from typing import Any, NamedTuple

import orjson

from service.config import Settings
from service.engine import Engine
from service.oip import metadata
from service.oip.datatypes import NAMES, NUMERIC
from service.oip.infer import infer_steps
from service.oip.messages import InferRequest, RequestedOutput
from service.oip.outputs import outputs_of
from service.oip.wire import encode_reply
from service.stages import Stopwatch
from service.steps import finish

Json = dict[str, Any]

TAG = "open inference protocol"


class Described(NamedTuple):
    """A path and what it does."""

    path: str
    method: str
    summary: str
    description: str
    example: str = ""
    """Which of `_examples` it has."""


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

PATHS = (
    Described("/v2", "get", "The server", "Its name, version and extensions of the protocol.", "server"),
    Described("/v2/health/live", "get", "Is the process alive?", "200 as long as it answers at all."),
    Described("/v2/health/ready", "get", "Can it serve?", "200 when models are loaded and verified."),
    Described(MODEL, "get", "A model", INPUTS, "model"),
    Described(VERSION, "get", "A version of a model", INPUTS, "model"),
    Described(f"{MODEL}/ready", "get", "Can a model be asked?", READY),
    Described(f"{VERSION}/ready", "get", "Can a version be asked?", READY),
    Described(f"{MODEL}/infer", "post", "Ask a model", INFER, "infer"),
    Described(f"{VERSION}/infer", "post", "Ask a version of a model", INFER, "infer"),
    Described("/v2/repository/index", "post", "Which models are there?", "Every version, and whether it serves."),
    Described("/v2/repository/models/{name}/load", "post", "Load a model", LOAD),
    Described("/v2/repository/models/{name}/unload", "post", "Unload a model", "Requests in flight are finished."),
)

PARAMETERS: dict[str, Json] = {
    "{name}": {"name": "name", "schema": {"type": "string"}, "example": "digits"},
    "{version}": {"name": "version", "schema": {"type": "integer", "minimum": 1}, "example": 1},
}

PARAMETERS_OF = {
    "type": ["object", "null"],
    "additionalProperties": {"type": ["boolean", "integer", "number", "string"]},
}

INFER_BODY: Json = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": ["string", "null"]},
        "parameters": PARAMETERS_OF,
        "inputs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "shape", "datatype"],
                "properties": {
                    "name": {"type": "string"},
                    "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
                    "datatype": {"enum": list(NUMERIC)},
                    "parameters": PARAMETERS_OF,
                    "data": {"type": "array", "description": "flat, row by row, or nested as the shape is"},
                },
            },
        },
        "outputs": {
            "type": ["array", "null"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "parameters": PARAMETERS_OF},
            },
        },
    },
}

ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}


def describe_paths(engine: Engine | None, settings: Settings) -> Json:
    """OpenAPI's `paths`."""
    examples = _examples(engine, settings) if engine else {}
    paths: Json = {}
    for described in PATHS:
        paths.setdefault(described.path, {})[described.method] = _operation(described, examples)
    return paths


def _operation(described: Described, examples: Json) -> Json:
    asked: Json = {"schema": INFER_BODY if described.example == "infer" else {"type": "object"}}
    answer: Json = {"schema": {}}
    if described.example in examples:
        asked["example"], answer["example"] = examples[described.example]
    failed = {"description": "refused, and why", "content": {"application/json": {"schema": ERROR}}}
    operation: Json = {
        "tags": [TAG],
        "summary": described.summary,
        "description": described.description,
        "operationId": f"oip{described.path}".replace("/", "_").replace("{", "").replace("}", ""),
        "parameters": [
            {"in": "path", "required": True, **parameter}
            for place, parameter in PARAMETERS.items()
            if place in described.path
        ],
        "responses": {"200": {"description": "done", "content": {"application/json": answer}}, "default": failed},
    }
    if described.method == "post":
        required = described.example == "infer"
        operation["requestBody"] = {"required": required, "content": {"application/json": asked}}
    return operation


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
