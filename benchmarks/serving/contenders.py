"""The contenders: requests, paths, and the probabilities in their replies."""

import json
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.serving.subjects import CLASSES, PASSES

JSON = {"content-type": "application/json"}

NAIVE = "FastAPI async def"
REFERENCE = "raw ASGI, msgspec"
CONSTANT = "raw ASGI, constant reply"
PREDICT = "Dropserve /predict"
UNCERTAINTY = f"Dropserve /uncertainty, {PASSES} samples"


class Request(NamedTuple):
    """A request to post."""

    body: bytes
    headers: dict[str, str] = JSON


class Contender(NamedTuple):
    """A server and one way of calling it."""

    name: str
    peer: str
    """The folder in `peers`; empty for Dropserve."""
    path: str
    encode: Callable[[list[float]], Request]
    """Return the request for a row."""
    decode: Callable[[bytes], list[float]]
    """Return the row's probabilities in a reply's body."""
    question: str = "predict"
    """The kind of the subject's answers to verify."""


def as_rows(row: list[float]) -> Request:
    """Return a body with a list of rows."""
    return Request(json.dumps({"inputs": [row]}).encode())


def as_samples(row: list[float]) -> Request:
    """Return the same with a number of samples."""
    return Request(json.dumps({"inputs": [row], "samples": PASSES}).encode())


def as_tensor(row: list[float]) -> Request:
    """Return an inference request of the Open Inference Protocol, JSON."""
    tensor = {"name": "input", "shape": [1, len(row)], "datatype": "FP32", "data": row}
    return Request(json.dumps({"inputs": [tensor]}).encode())


def as_binary(row: list[float]) -> Request:
    """Return one with binary tensor data: JSON, then the numbers, little-endian."""
    data = struct.pack(f"<{len(row)}f", *row)
    tensor = {"name": "input", "shape": [1, len(row)], "datatype": "FP32"}
    output = {"name": "probabilities", "parameters": {"binary_data": True}}
    described = tensor | {"parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [described], "outputs": [output]}).encode()
    length = {"inference-header-content-length": str(len(header))}
    return Request(header + data, {"content-type": "application/octet-stream"} | length)


def from_rows(body: bytes) -> list[float]:
    """Read `{"probabilities": [[…]]}`."""
    probabilities: list[float] = json.loads(body)["probabilities"][0]
    return probabilities


def from_list(body: bytes) -> list[float]:
    """Read `[[…]]`."""
    probabilities: list[float] = json.loads(body)[0]
    return probabilities


def from_prediction(field: str) -> Callable[[bytes], list[float]]:
    """Return a reader of Dropserve's reply, an object a row."""

    def decode(body: bytes) -> list[float]:
        probabilities: list[float] = json.loads(body)["predictions"][0][field]
        return probabilities

    return decode


def from_tensor(body: bytes) -> list[float]:
    """Read a reply of the Open Inference Protocol, JSON; KServe's SDK chooses the name of its output."""
    outputs: list[dict[str, Any]] = json.loads(body)["outputs"]
    data: list[float] = outputs[-1]["data"]
    return data


def from_binary(body: bytes) -> list[float]:
    """Read the numbers at the end."""
    return list(struct.unpack(f"<{CLASSES}f", body[-4 * CLASSES :]))


INFER = "/v2/models/mlp/infer"

CONTENDERS = (
    Contender(PREDICT, "", "/predict", as_rows, from_prediction("probabilities")),
    Contender("Dropserve /v2 infer, JSON", "", INFER, as_tensor, from_tensor),
    Contender("Dropserve /v2 infer, binary", "", INFER, as_binary, from_binary),
    Contender(UNCERTAINTY, "", "/uncertainty", as_samples, from_prediction("mean_probabilities"), "uncertainty"),
    Contender("FastAPI def", "fastapi", "/predict", as_rows, from_rows),
    Contender(NAIVE, "fastapi", "/predict_async", as_rows, from_rows),
    Contender("LitServe", "litserve", "/predict", as_rows, from_rows),
    Contender("BentoML", "bentoml", "/predict", as_rows, from_list),
    Contender("MLServer", "mlserver", INFER, as_tensor, from_tensor),
    Contender("KServe SDK", "kserve", INFER, as_tensor, from_tensor),
    Contender("Ray Serve", "ray_serve", "/predict", as_rows, from_rows),
    Contender("Triton (PyTriton)", "pytriton", INFER, as_tensor, from_tensor),
    Contender(REFERENCE, "asgi", "/predict", as_rows, from_rows),
    Contender(CONSTANT, "asgi", "/constant", as_rows, from_rows, "constant"),
)
PEERS = tuple(dict.fromkeys(contender.peer for contender in CONTENDERS if contender.peer))
