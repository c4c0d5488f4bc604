"""The contenders: settings, requests, paths, and the probabilities in their replies."""

import json
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.serving.subjects import CLASSES, PASSES

JSON = {"content-type": "application/json"}

OURS = "dropserve"
BASELINE = "baseline"
"""The name of the server of another commit's build."""

PREDICT = "Dropserve /predict"
IDENTIFIED = f"{PREDICT}, ids"
KEYED = "Dropserve /predict, API key file"
LOGGED = "Dropserve /predict, access log"
V2_JSON = "Dropserve /v2 infer, JSON"
V2_BINARY = "Dropserve /v2 infer, binary"
UNCERTAINTY = f"Dropserve /uncertainty, {PASSES} samples"
NAIVE = "FastAPI async def"
TURN = "asyncio.Protocol, a run a turn"
RAW = "raw ASGI, msgspec"
CONSTANT = "raw ASGI, constant reply"


class Request(NamedTuple):
    """A request to post."""

    body: bytes
    headers: dict[str, str] = JSON


def no_settings(folder: Path) -> dict[str, str]:  # noqa: ARG001 - one signature for all
    """Return no settings."""
    return {}


class Contender(NamedTuple):
    """A server and one way of calling it."""

    name: str
    server: str
    """OURS, BASELINE or a folder in `peers`."""
    path: str
    encode: Callable[[list[float]], Request]
    """Return the request for a row."""
    decode: Callable[[bytes], list[float]]
    """Return the row's probabilities in a reply's body."""
    question: str = "predict"
    """The kind of the subject's answers to verify."""
    settings: Callable[[Path], dict[str, str]] = no_settings
    """Write the files of Dropserve's settings into a folder, and return the settings as environment variables."""
    logs_requests: bool = False
    """Whether the server's log must have a line for each answer."""
    has_ids: bool = False
    """Whether each request has an id of its own, so that no head is sent twice in a while."""
    one_worker: bool = False
    """Whether the server cannot have more workers."""


KEY = "ds_benchmark"


def key_file(folder: Path) -> dict[str, str]:
    """Write a key file and return the setting that names it."""
    file = folder / "keys"
    file.write_text(f"benchmark infer {sha256(KEY.encode()).hexdigest()}\n")
    return {"DROPSERVE_API_KEYS": str(file)}


def access_log(folder: Path) -> dict[str, str]:  # noqa: ARG001 - one signature for all
    """Return the setting that logs each request."""
    return {"DROPSERVE_ACCESS_LOG": "true"}


def as_rows(row: list[float]) -> Request:
    """Return a body with a list of rows."""
    return Request(json.dumps({"inputs": [row]}).encode())


def with_key(row: list[float]) -> Request:
    """Return the same with an API key."""
    body, headers = as_rows(row)
    return Request(body, headers | {"authorization": f"Bearer {KEY}"})


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
    Contender(PREDICT, OURS, "/predict", as_rows, from_prediction("probabilities")),
    Contender(IDENTIFIED, OURS, "/predict", as_rows, from_prediction("probabilities"), has_ids=True),
    Contender(KEYED, OURS, "/predict", with_key, from_prediction("probabilities"), settings=key_file),
    Contender(
        LOGGED, OURS, "/predict", as_rows, from_prediction("probabilities"), settings=access_log, logs_requests=True
    ),
    Contender(V2_JSON, OURS, INFER, as_tensor, from_tensor),
    Contender(V2_BINARY, OURS, INFER, as_binary, from_binary),
    Contender(UNCERTAINTY, OURS, "/uncertainty", as_samples, from_prediction("mean_probabilities"), "uncertainty"),
    Contender("FastAPI def", "fastapi", "/predict", as_rows, from_rows),
    Contender(NAIVE, "fastapi", "/predict_async", as_rows, from_rows),
    Contender("LitServe", "litserve", "/predict", as_rows, from_rows),
    Contender("BentoML", "bentoml", "/predict", as_rows, from_list),
    Contender("MLServer", "mlserver", INFER, as_tensor, from_tensor),
    Contender("KServe SDK", "kserve", INFER, as_tensor, from_tensor),
    Contender("Ray Serve", "ray_serve", "/predict", as_rows, from_rows),
    Contender("Triton (PyTriton)", "pytriton", INFER, as_tensor, from_tensor),
    Contender(TURN, "asyncio_protocol", "/predict", as_rows, from_rows, one_worker=True),
    Contender(RAW, "asgi", "/predict", as_rows, from_rows),
    Contender(CONSTANT, "asgi", "/constant", as_rows, from_rows, "constant"),
)
PEERS = tuple(dict.fromkeys(contender.server for contender in CONTENDERS if contender.server != OURS))


def at(commit: str, name: str) -> str:
    """Return the name of one of our contenders for another commit's build."""
    return name.replace("Dropserve", f"Dropserve at {commit}", 1)


def at_commit(commit: str) -> list[Contender]:
    """Return the contenders of another commit's build."""
    same = [one for one in CONTENDERS if one.name in (PREDICT, UNCERTAINTY)]
    return [one._replace(name=at(commit, one.name), server=BASELINE) for one in same]
