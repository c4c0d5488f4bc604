"""Requests that arrive in one turn of the loop are checked and run together, and each gets the reply it gets alone."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from service.access.calls import Call, Reply
from service.config import Settings
from service.engine.answers import Prediction
from service.engine.costs import Cost
from service.engine.engine import Engine, Learned
from service.engine.inputs import Inputs
from service.engine.job import Job
from service.errors import DropserveError
from service.model.manifest import Manifest
from service.oip.datatypes import DTYPES
from service.oip.http import Infer
from service.oip.infer import plan_infer
from service.oip.proto import open_inference_pb2 as pb
from service.oip.protobuf import read_request, write_reply
from service.turn import Decode, Turns
from service.work.scheduling import Scheduler
from tests.conftest import PATIENCE
from tests.toy import ToyNet, warmed

SETTINGS = Settings()
INFER = Infer(SETTINGS)
ROW = [1.0, 2.0, 3.0, 4.0]
TOKENS = {"name": "tokens", "dtype": "int64", "shape": (3,)}
SECONDS = {"name": "seconds", "dtype": "float64", "shape": (3,)}


class Echo(Engine):
    """A model whose probabilities are the first numbers of a row, and which notes the rows of each run."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.learned = Learned(row_cost=Cost(each=1e-6), rows_are_independent=True)
        self.runs: list[Inputs] = []

    def predict(self, inputs: Inputs, job: Job | None = None) -> Prediction:
        self.runs.append(inputs)
        return Prediction(next(iter(inputs.values()))[:, :3].astype(np.float64))

    @property
    def rows(self) -> list[int]:
        return [len(next(iter(inputs.values()))) for inputs in self.runs]


@pytest.fixture
def model(manifest: Manifest) -> Echo:
    return Echo(manifest)


def in_json(data: object, datatype: str = "FP32", **fields: Any) -> bytes:
    tensor = {"name": "input", "shape": [1, 4], "datatype": datatype, "data": data} | fields.pop("tensor", {})
    return json.dumps({"inputs": [tensor], **fields}).encode()


def http(engine: Engine, body: bytes, raw: bytes | None = None) -> Decode[Reply]:
    """The decoder of a body over HTTP, of JSON or with raw bytes after it."""
    headers = {} if raw is None else {b"inference-header-content-length": str(len(body)).encode()}
    call = Call("POST", "/v2/models/toy/infer", b"", headers, 0.0)
    return partial(INFER.decode, call, engine, body + (raw or b""))


def raw_http(engine: Engine, values: Any, datatype: str = "FP32", **fields: Any) -> Decode[Reply]:
    content = np.asarray(values, DTYPES[datatype]).tobytes()
    tensor = {"name": engine.manifest.inputs[0].name, "shape": np.shape(values), "datatype": datatype}
    described = {"inputs": [tensor | {"parameters": {"binary_data_size": len(content)}}], **fields}
    return http(engine, json.dumps(described).encode(), content)


def grpc(engine: Engine, **fields: Any) -> Decode[pb.ModelInferResponse]:
    """The decoder of a message over gRPC."""
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 4]}
    request = pb.ModelInferRequest(model_name="toy", inputs=[tensor], **fields)

    def decode(_: Job) -> Any:
        requested = read_request(request, engine.manifest, 5)
        planned, chosen = plan_infer(engine, requested, SETTINGS)
        return planned, partial(write_reply, requested.id, chosen)

    return decode


def at_once(*decoders: Decode[Any]) -> list[Any]:
    """Answer requests of one turn of the loop; return the replies, or the errors' messages."""

    async def answer_all() -> Sequence[Any]:
        scheduler = Scheduler(max_jobs=1, inline_seconds=1.0)
        turns = Turns(scheduler)
        calls = [Call("POST", "/", b"", {}, 0.0) for _ in decoders]
        try:
            each = [turns.answer(call, decode, 0.0, PATIENCE) for call, decode in zip(calls, decoders, strict=True)]
            return await asyncio.gather(*each, return_exceptions=True)
        finally:
            scheduler.close()

    return [found.message if isinstance(found, DropserveError) else found for found in asyncio.run(answer_all())]


def alone(*decoders: Decode[Any]) -> list[Any]:
    """Answer each request in a turn of its own."""
    return [at_once(decode)[0] for decode in decoders]


def test_requests_of_one_type_share_a_run_whatever_their_form(model: Echo) -> None:
    decoders = [
        http(model, in_json(ROW)),
        http(model, in_json([ROW], id="nested")),
        raw_http(model, [ROW, ROW]),
        grpc(model, raw_input_contents=[np.array(ROW, "<f4").tobytes()]),
    ]
    replies = at_once(*decoders)
    assert model.rows == [5]
    assert replies == alone(*decoders)
    assert json.loads(replies[1].content)["id"] == "nested"
    assert json.loads(replies[2].content)["outputs"][0]["shape"] == [2]


def test_an_invalid_request_is_refused_as_alone_and_costs_no_other_its_reply(model: Echo) -> None:
    too_large = [0, 0, 1e39, 0]
    decoders = [
        http(model, in_json(ROW)),
        http(model, in_json(too_large)),
        raw_http(model, [[1, np.nan, 2, 3]]),
        http(model, in_json(ROW, outputs=[{"name": "none"}])),
        http(model, in_json([1, 2])),
        raw_http(model, [ROW]),
        grpc(model, raw_input_contents=[np.array([np.inf] * 4, "<f4").tobytes()]),
        grpc(model, raw_input_contents=[bytes(16)]),
    ]
    replies = at_once(*decoders)
    assert replies[1] == "inputs[0][2]: expected a finite number that fits float32, found inf"
    assert replies[2] == "inputs[0][1]: expected a finite number that fits float32, found nan"
    assert replies[3].startswith("outputs.none: the model has no such output")
    assert replies[4].startswith("inputs.input.data: expected 1×4 values of FP32")
    assert replies[6] == "inputs[0][0]: expected a finite number that fits float32, found inf"
    assert replies == alone(*decoders)


def test_numbers_of_different_types_are_not_rounded_together(model: Echo) -> None:
    """Rounded to float64 first, as an array of both would be, the whole numbers would end between two float32."""
    whole = 2**60 + 2**36 + 1
    decoders = [
        raw_http(model, [[whole, 0, 0, 0]], "INT64"),
        http(model, in_json([0.1, 0, 0, 0], "FP64")),
        http(model, in_json([whole, 0, 0, 0], "INT64")),
        raw_http(model, [[0.1, 0, 0, 0]], "FP16"),
    ]
    replies = at_once(*decoders)
    assert sorted(model.rows) == [1, 1, 2]
    assert replies == alone(*decoders)
    seen = {float(inputs["input"][0, 0]) for inputs in model.runs}
    assert seen == {float(np.float32(2**60 + 2**37)), float(np.float32(0.1)), float(np.float16(0.1))}


def test_whole_numbers_keep_all_digits_beside_other_types(toy: ToyNet) -> None:
    model = Echo(toy.manifest(inputs=[TOKENS]))
    big = 2**53 + 1

    def tokens(values: list[float], datatype: str) -> Decode[Reply]:
        return http(model, in_json(values, datatype, tensor={"name": "tokens", "shape": [1, 3]}))

    decoders = [tokens([big, 0, 0], "INT64"), tokens([2**63, 0, 0], "UINT64"), tokens([1.0, 2.0, 3.0], "FP32")]
    fitting, too_large, of_other_type = at_once(*decoders)
    assert model.runs[0]["tokens"].tolist() == [[big, 0, 0]]
    assert isinstance(fitting, Reply)
    assert too_large == f"inputs[0][0]: expected a whole number that fits int64, found {2**63}"
    assert of_other_type == "inputs: expected values of type int64, found float32"


def test_float64_inputs_keep_the_digits_of_fp32_in_json(toy: ToyNet) -> None:
    model = Echo(toy.manifest(inputs=[SECONDS]))
    seconds = [1700000000.25, 0.1, 1e39]
    described = {"name": "seconds", "shape": [1, 3]}
    at_once(*[http(model, in_json(seconds, datatype, tensor=described)) for datatype in ("FP32", "FP64", "FP16")])
    assert [inputs["seconds"].tolist() for inputs in model.runs] == [[seconds] * 3]


def test_several_inputs_share_a_run_if_their_types_are_the_same(toy: ToyNet) -> None:
    model = Echo(toy.manifest(inputs=[SECONDS, TOKENS]))

    def both(rows: int = 1, tokens: int = 1, datatype: str = "INT64", *, reverse: bool = False) -> Decode[Reply]:
        tensors = [
            {"name": "seconds", "shape": [rows, 3], "datatype": "FP64", "data": [0.5] * 3 * rows},
            {"name": "tokens", "shape": [tokens, 3], "datatype": datatype, "data": [7] * 3 * tokens},
        ]
        return http(model, json.dumps({"inputs": tensors[:: -1 if reverse else 1]}).encode())

    replies = at_once(both(), both(2, 2, reverse=True), both(2, 1), both(datatype="INT32"))
    assert model.rows == [3, 1]
    assert [inputs["tokens"].dtype for inputs in model.runs] == [np.int64] * 2
    assert replies[2] == "inputs: expected as many rows for each input; seconds has 2, tokens has 1"


@pytest.fixture(scope="module")
def engine(toy: ToyNet) -> Engine:
    return warmed(toy.engine(), toy.rows(8))


@pytest.mark.parametrize("parameters", [{"samples": 8, "seed": 5}, {"samples": 400, "seed": 5, "tolerance": 0.03}])
def test_replies_with_samples_are_to_the_bit_those_without_company(
    parameters: Mapping[str, Any], engine: Engine, toy: ToyNet
) -> None:
    outputs = [{"name": name} for name in ("label", "samples", "passes", "stopped", "mean_probabilities")]
    outputs[1]["parameters"] = {"binary_data": True}  # type: ignore[assignment]
    decoders = [raw_http(engine, row[None], outputs=outputs, parameters=parameters) for row in toy.rows(6, seed=7)]
    replies = at_once(*decoders)
    assert replies == alone(*decoders)
    heads = [json.loads(reply.content[: int(reply.headers[0][1])]) for reply in replies]
    passes = {tuple(head["outputs"][1]["shape"]) for head in heads}
    assert (len(passes) > 1) == ("tolerance" in parameters)
