"""Run every parser of external input on bytes: it must accept or refuse with the service's errors.

Accepted input must be what the model takes: finite numbers of its type and shape.
"""

import gzip
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from service import Settings
from service.access.compression import decompress
from service.access.keys import given_key, make_key, needed_scope, read_keys
from service.api.decoding import decode_request
from service.api.requests import PredictRequest, UncertaintyRequest, parse_version, plan_sampling
from service.bulk.files import read_rows
from service.engine.inputs import count_rows
from service.errors import DropserveError, InvalidRequest
from service.http.gate import read_path
from service.loading.golden import record, replay
from service.model.external_data import check_external_data
from service.model.manifest import MANIFEST, Manifest, read_manifest
from service.model.runtime import Array
from service.oip.infer import sampling_parameters
from service.oip.outputs import choose_outputs
from service.oip.proto import open_inference_pb2 as pb
from service.oip.protobuf import read_request
from service.oip.repository import IndexBody, LoadBody
from service.oip.wire import decode_infer
from service.rows.formats import Format, find_format
from service.rows.json_rows import decode_inputs
from tests.service.archives import npy, npz
from tests.toy import ToyNet

MAX_ROWS = 50
MAX_BYTES = 2**16
SETTINGS = Settings(max_rows=MAX_ROWS, max_samples=100, max_row_samples=2000)

TOY = ToyNet()
HOMES = TOY.manifest(
    features=("age", "city", "rooms", "paid"),
    categories={"city": ("Oslo", "Paris", "Rome"), "paid": ("false", "true")},
)
TWO = TOY.manifest(
    inputs=({"name": "tokens", "dtype": "int64", "shape": (3,)}, {"name": "image", "dtype": "float32", "shape": (2, 2)})
)
MANIFESTS = (TOY.manifest(), HOMES, TWO)


class Parser(NamedTuple):
    """A parser and valid input for it."""

    parse: Callable[[bytes], object]
    seeds: Sequence[bytes]


def survives(parser: Parser, content: bytes) -> bool:
    """Return whether the parser accepted the content, False for a refusal; any other error is raised."""
    try:
        parser.parse(content)
    except DropserveError as error:
        json.dumps(error.details)  # a reply must be JSON
        error.message.encode()
        return False
    return True


def _fits(arrays: Mapping[str, Array], manifest: Manifest) -> None:
    for spec in manifest.inputs:
        array = arrays[spec.name]
        assert array.shape[1:] == spec.shape
        assert array.dtype == spec.dtype
        assert 1 <= len(array) <= MAX_ROWS
        assert np.isfinite(array).all()


def _predict(body: bytes) -> None:
    request = decode_request(body, PredictRequest)
    for manifest in MANIFESTS:
        try:
            _fits(decode_inputs(request.inputs, manifest, MAX_ROWS), manifest)
        except DropserveError as error:
            last = error
        else:
            return
    raise last


def _uncertainty(body: bytes) -> None:
    request = decode_request(body, UncertaintyRequest)
    arrays = decode_inputs(request.inputs, MANIFESTS[0], MAX_ROWS)
    _fits(arrays, MANIFESTS[0])
    assert plan_sampling(request, MANIFESTS[0], count_rows(arrays), SETTINGS).passes <= SETTINGS.max_samples


def _infer(body: bytes) -> None:
    """Decode the body with an inference header of none, to the end of the last object, or of a length in two bytes."""
    for manifest in (MANIFESTS[0], TWO):
        try:
            infer = decode_infer(*_split(body), manifest, MAX_ROWS)
            _fits(infer.inputs.fit(manifest), manifest)
            choose_outputs(infer.outputs, infer.binary, manifest)
            sampling_parameters(infer.parameters)
        except DropserveError as error:
            last = error
        else:
            return
    raise last


def _split(body: bytes) -> tuple[bytes, bytes | None]:
    kind, rest = body[:1], body[1:]
    if kind == WHOLE:
        return rest, None
    if kind == TO_THE_END:
        return rest, b"%d" % (rest.rfind(b"}") + 1)
    return rest[2:], b"%d" % int.from_bytes(rest[:2], "big")


WHOLE, TO_THE_END = b"w", b"e"


def _protobuf(body: bytes) -> None:
    try:
        request = pb.ModelInferRequest.FromString(body)
    except DecodeError:
        return
    _fits(read_request(request, MANIFESTS[0], MAX_ROWS).inputs.fit(MANIFESTS[0]), MANIFESTS[0])


def _file(manifest: Manifest, kind: Format) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        find_format("-", content)
        arrays = read_rows(content[:MAX_BYTES], kind, manifest)
        assert all(np.isfinite(array).all() for array in arrays.values())

    return read


def _golden(content: bytes) -> None:
    replay(ENGINE, content)


ENGINE = TOY.engine()


SCRATCH = tempfile.TemporaryDirectory(prefix="abuse-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
"""Removed when the process ends."""


def _in_a_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], None]:
    place = Path(SCRATCH.name) / name / "toy" / "1"
    place.mkdir(parents=True)

    def parse(content: bytes) -> None:
        (place / name).write_bytes(content)
        read(place)

    return parse


def _settings(content: bytes) -> None:
    """Read `NAME=value` lines as an environment."""
    lines = [line.partition("=") for line in content.decode("latin-1").splitlines()]
    given = {name: value.replace("\0", "") for name, _, value in lines if name in SETTING_NAMES}
    before = dict(os.environ)
    os.environ.update(given)
    try:
        Settings()
    except (ValueError, RecursionError):  # of pydantic-settings and json; `service.__main__` reports them
        raise InvalidRequest("settings") from None
    finally:
        for name in given:
            os.environ.pop(name)
        os.environ.update(before)


SETTING_NAMES = {f"DROPSERVE_{name.upper()}" for name in Settings.model_fields}


def _path(content: bytes) -> None:
    path = content.decode("utf-8", "replace")
    needed_scope(path)
    if infer := read_path(path):
        parse_version(infer.version)


def _headers(content: bytes) -> None:
    given_key({b"authorization": content})
    given_key({b"x-api-key": content})


def _gzip(content: bytes) -> None:
    assert len(decompress(content, "gzip", MAX_BYTES)) <= MAX_BYTES


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


TENSOR = {"name": "input", "shape": [1, 4], "datatype": "FP32"}
SEND = _json({"inputs": [TENSOR | {"parameters": {"binary_data_size": 16}}], "outputs": [{"name": "label"}]})
BINARY = TO_THE_END + SEND + np.arange(4, dtype="<f4").tobytes()
MIXED = _json(
    {
        "id": "7",
        "inputs": [
            {"name": "tokens", "shape": [2, 3], "datatype": "INT64", "parameters": {"binary_data_size": 48}},
            {"name": "image", "shape": [2, 2, 2], "datatype": "FP64", "data": [[[1, 2], [3, 4]]] * 2},
        ],
        "parameters": {"binary_data_output": True, "samples": 8, "seed": 3},
    }
)
INFER = (
    WHOLE + _json({"inputs": [TENSOR | {"data": [1, 2.5, -3, 4]}], "parameters": {"samples": 5, "seed": 1}}),
    WHOLE + _json({"inputs": [TENSOR | {"data": [[1, 2, 3, 4]]}], "outputs": [{"name": "mutual_information"}]}),
    WHOLE + _json({"inputs": [TENSOR | {"datatype": "BOOL", "data": [True, False, True, True]}], "id": "x"}),
    BINARY,
    BINARY.replace(b"FP32", b"INT8").replace(b"16}", b" 4}")[:-12],
    b"n" + len(MIXED).to_bytes(2, "big") + MIXED + np.arange(6, dtype="<i8").tobytes(),
)
PREDICT = (
    _json({"inputs": [[0.5, -1, 2e3, 4]], "coverage": 0.9}),
    _json({"inputs": {"input": [[1, 2, 3, 4]] * 3}}),
    _json({"inputs": [[0.5, "Rome", 2, True], [1, "Oslo", 3, "false"]]}),
    _json({"inputs": {"tokens": [[1, 2, 3]], "image": [[[1, 2], [3, 4.5]]]}}),
)
UNCERTAINTY = (
    _json({"inputs": [[0.5, -1, 2e3, 4]], "samples": 10, "seed": 7, "quantiles": [0.1, 0.9], "return_samples": True}),
    _json({"inputs": [[1, 2, 3, 4]], "samples": {"max": 90, "confidence": 0.99, "tolerance": 0.1}, "seed": "random"}),
    _json({"inputs": [[1, 2, 3, 4]], "ablate": [{"site": "hidden", "units": [1, 2]}], "dropout_rate": 0.2}),
    _json({"inputs": [[1, 2, 3, 4]], "ablate": [{"site": 0, "fraction": 0.5}]}),
)


def _protobuf_seeds() -> list[bytes]:
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 4]}
    whole = pb.ModelInferRequest(model_name="toy", inputs=[{**tensor, "contents": {"fp32_contents": [1, 2, 3, 4]}}])
    raw = pb.ModelInferRequest(model_name="toy", inputs=[tensor], raw_input_contents=[np.zeros(4, "<f4").tobytes()])
    whole.parameters["samples"].int64_param = 5
    return [whole.SerializeToString(), raw.SerializeToString()]


CSV = (b"x0,x1,x2,x3\n1,2,3,4\n5,6,7,-8e3\n", b'1;2;3;"4"\n5;6;7;8\n')
HOME = (b"age,city,rooms,paid\n1,Rome,3,false\n", b"1;Oslo;3;True\n2;0;3;1\n")
ROW = np.arange(8, dtype="<f4").reshape(2, 4)
LINES = (b"[1,2,3,4]\n[5,6,7,8]\n", b'{"x0":1,"x1":2,"x2":3,"x3":4}\n')

PARSERS: Mapping[str, Parser] = {
    "JSON of predict": Parser(_predict, PREDICT),
    "JSON of uncertainty": Parser(_uncertainty, UNCERTAINTY),
    "v2, JSON and binary": Parser(_infer, INFER),
    "v2, protobuf": Parser(_protobuf, _protobuf_seeds()),
    "v2, index": Parser(lambda body: decode_request(body, IndexBody), [b'{"ready": true}']),
    "v2, load": Parser(lambda body: decode_request(body, LoadBody), [b'{"parameters": {"config": "{}"}}']),
    "gzip": Parser(_gzip, [gzip.compress(PREDICT[0]), gzip.compress(b"a" * 9999) + gzip.compress(PREDICT[1])]),
    "CSV": Parser(_file(MANIFESTS[0], "csv"), CSV),
    "CSV with categories": Parser(_file(HOMES, "csv"), HOME),
    "JSON Lines": Parser(_file(MANIFESTS[0], "jsonl"), LINES),
    "NPZ": Parser(_file(MANIFESTS[0], "npz"), [npz(input=ROW)]),
    "NPY": Parser(_file(MANIFESTS[0], "npy"), [npy(ROW)]),
    "golden": Parser(_golden, [record(ENGINE, {"input": TOY.rows(2)}, passes=2, seed=1)]),
    "manifest": Parser(
        _in_a_file(MANIFEST, read_manifest), [one.model_dump_json().encode() for one in (TOY.manifest(), HOMES)]
    ),
    "settings": Parser(_settings, [b'DROPSERVE_PINS={"a":1}\nDROPSERVE_PORT=80\nDROPSERVE_CORS_ORIGINS=["x"]\n']),
    "key file": Parser(
        _in_a_file("keys", lambda place: read_keys(place / "keys")),
        ["\n".join(make_key(name, "infer")[1].line() for name in ("a", "b")).encode()],
    ),
    "key headers": Parser(_headers, [b"Bearer ds_abc", b"ds_abc"]),
    "paths": Parser(_path, [b"/v1/models/toy/versions/1/predict", b"/v2/models/toy/infer", b"/models/toy/plots/a.svg"]),
    "ONNX, looked through": Parser(
        lambda content: check_external_data(content, "graph"), [TOY.graph(masked=False), TOY.graph(masked=True)]
    ),
}
