"""Triton's gRPC client, unchanged, against a service in a process of its own: the protocol's messages of both
sides bear the same names, so one process cannot hold the two."""

import queue
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import InferenceServerClient as Client
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from service.access.keys import make_key
from tests.conftest import PATIENCE, wait_until
from tests.service.processes import Service, service
from tests.toy import ToyNet


@contextmanager
def grpc_service(folder: Path, **environment: str) -> Iterator[tuple[Service, str]]:
    """A service with gRPC, and the address of that."""
    with service(folder, DROPSERVE_GRPC_PORT="0", **environment) as running:
        yield running, f"localhost:{running.said('gRPC listens')[0]['port']}"


@pytest.fixture(scope="module")
def address(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with grpc_service(tmp_path_factory.mktemp("grpc"), DROPSERVE_MODELS=str(published)) as (_, address):
        yield address


@pytest.fixture
def client_of_triton(address: str) -> Iterator[Client]:
    with Client(address) as connected:
        yield connected


@pytest.fixture
def stub(address: str, client_of_triton: Client) -> Iterator[Any]:
    """The protocol itself, to send what no client would."""
    with grpc.insecure_channel(address) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def rows_of(toy: ToyNet) -> Any:
    rows = toy.rows(3)
    tensor = triton.InferInput("input", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    return tensor


def request(**fields: Any) -> Any:
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 4], "contents": {"fp32_contents": [1, 2, 3, 4]}}
    asked = {"model_name": "toy", "inputs": [tensor | fields.pop("tensor", {})]} | fields
    return pb.ModelInferRequest(**asked)


def refused(call: Any, code: grpc.StatusCode) -> str:
    with pytest.raises(grpc.RpcError) as refusal:
        call()
    assert refusal.value.code() == code, refusal.value
    return str(refusal.value.details())


def test_what_there_is(client_of_triton: Client) -> None:
    assert client_of_triton.is_server_live()
    assert client_of_triton.is_model_ready("toy", "2")
    assert not client_of_triton.is_model_ready("toy", "3")
    assert not client_of_triton.is_model_ready("nobody")
    assert "model_repository" in client_of_triton.get_server_metadata().extensions
    said = client_of_triton.get_model_metadata("toy")
    assert list(said.versions) == ["1", "2"]
    assert (said.inputs[0].name, said.inputs[0].datatype, list(said.inputs[0].shape)) == ("input", "FP32", [-1, 4])
    assert "mutual_information" in {output.name for output in said.outputs}
    listed = client_of_triton.get_model_repository_index().models
    assert [(model.name, model.version, model.state) for model in listed][:1] == [("toy", "1", "READY")]


def test_the_numbers_of_http(client_of_triton: Client, client: httpx.Client, toy: ToyNet) -> None:
    names = ("label", "probabilities", "mutual_information", "samples", "votes")
    result = client_of_triton.infer(
        "toy",
        [rows_of(toy)],
        outputs=[triton.InferRequestedOutput(name) for name in names],
        request_id="mine",
        parameters={"samples": 8, "seed": 5, "dropout_rate": 0.25},
    )
    asked = {"inputs": toy.rows(3).tolist(), "samples": 8, "seed": 5, "dropout_rate": 0.25, "return_samples": True}
    rows = client.post("/v1/models/toy/uncertainty", json=asked).json()["predictions"]
    found = [label.decode() for label in result.as_numpy("label")]
    assert found == [row["deterministic"]["label"] for row in rows]
    same(result.as_numpy("probabilities"), [row["deterministic"]["probabilities"] for row in rows], np.float32)
    same(result.as_numpy("mutual_information"), [row["mutual_information"] for row in rows], np.float64)
    same(result.as_numpy("samples"), [row["sampled"] for row in rows], np.float32)
    same(result.as_numpy("votes"), [row["votes"] for row in rows], np.int64)
    said = result.get_response()
    assert (said.id, said.model_name, said.model_version) == ("mine", "toy", "2")
    assert {name: value.int64_param for name, value in said.parameters.items()} == {"samples": 8, "seed": 5}


def same(found: Any, expected: list[Any], dtype: type) -> None:
    np.testing.assert_array_equal(found, np.array(expected, dtype), strict=True)


def test_the_seed_may_be_random(client_of_triton: Client, toy: ToyNet) -> None:
    def ask(seed: str | int) -> Any:
        outputs = [triton.InferRequestedOutput("samples")]
        return client_of_triton.infer("toy", [rows_of(toy)], outputs=outputs, parameters={"samples": 5, "seed": seed})

    drawn = ask("random")
    again = ask(drawn.get_response().parameters["seed"].int64_param)
    np.testing.assert_array_equal(drawn.as_numpy("samples"), again.as_numpy("samples"))


CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT64": "int64_contents",
    "UINT16": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


@pytest.mark.parametrize("datatype", CONTENTS)
def test_contents_are_as_raw_bytes(datatype: str, stub: Any) -> None:
    row = np.array([0, 1, 1, 0], dtype=triton_to_np_dtype(datatype))
    described = {"datatype": datatype, "contents": {CONTENTS[datatype]: row.tolist()}}
    typed = stub.ModelInfer(request(tensor=described))
    raw = stub.ModelInfer(request(tensor={"datatype": datatype, "contents": None}, raw_input_contents=[row.tobytes()]))
    assert typed == raw
    assert len(raw.raw_output_contents) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tensor": {"name": "x"}}, "inputs.x: the model has no such input"),
        ({"tensor": {"shape": [1, 5]}}, "inputs.input.shape: expected [-1, 4]"),
        ({"tensor": {"shape": [-1, 4]}}, "inputs.input.shape: expected [-1, 4]"),
        ({"tensor": {"shape": [2**62, 4]}}, "at most 10000 rows"),
        ({"tensor": {"shape": [2, 4]}}, "inputs.input.contents: expected 8 fp32_contents, found 4"),
        ({"tensor": {"contents": None}}, "inputs.input.contents: expected 4 fp32_contents, found none"),
        ({"tensor": {"datatype": "INT8"}}, "expected 4 int_contents, found fp32_contents"),
        ({"tensor": {"datatype": "FP16"}}, "FP16 has no contents; expected raw_input_contents"),
        ({"tensor": {"datatype": "BYTES"}}, "found BYTES, but the model's inputs are numbers"),
        ({"raw_input_contents": [bytes(16)]}, "either contents or raw_input_contents, found both"),
        ({"raw_input_contents": [bytes(16)] * 2}, "raw_input_contents: expected one for each of 1 inputs, found 2"),
        ({"raw_input_contents": [bytes(15)], "tensor": {"contents": None}}, "expected 16 bytes, 1×4 of FP32; found 15"),
        ({"inputs": []}, "inputs.input: is missing"),
        ({"outputs": [{"name": "logits"}]}, "outputs.logits: the model has no such output"),
        ({"outputs": [{"name": "label"}] * 2}, "outputs.label: is given twice"),
        ({"parameters": {"sample": {"int64_param": 5}}}, "parameters.sample: there is no such parameter"),
        ({"parameters": {"dropout_rate": {"double_param": float("nan")}}}, "dropout_rate: expected a finite number"),
        (
            {"tensor": {"datatype": "INT8", "contents": {"int_contents": [300, 0, 0, 0]}}},
            "inputs.input.contents: expected numbers that fit INT8",
        ),
        ({"model_version": "one"}, "version: expected a whole number, found one"),
    ],
)
def test_wrong_questions(fields: dict[str, Any], message: str, stub: Any) -> None:
    assert message in refused(lambda: stub.ModelInfer(request(**fields)), grpc.StatusCode.INVALID_ARGUMENT)


def test_statuses(stub: Any) -> None:
    assert "nobody" in refused(lambda: stub.ModelInfer(request(model_name="nobody")), grpc.StatusCode.NOT_FOUND)
    unknown = pb.RepositoryModelLoadRequest(model_name="nobody")
    assert "nobody" in refused(lambda: stub.RepositoryModelLoad(unknown), grpc.StatusCode.NOT_FOUND)
    refused(lambda: stub.ModelConfig(pb.ModelConfigRequest(name="toy")), grpc.StatusCode.UNIMPLEMENTED)
    long = request(outputs=[{"name": "votes"}], parameters={"samples": {"int64_param": 10_001}})
    assert "at most 10000" in refused(lambda: stub.ModelInfer(long), grpc.StatusCode.INVALID_ARGUMENT)


def test_too_long_a_message_is_refused(stub: Any) -> None:
    long = request(raw_input_contents=[bytes(17 * 2**20)])
    refused(lambda: stub.ModelInfer(long), grpc.StatusCode.RESOURCE_EXHAUSTED)


def test_load_and_unload(tmp_path: Path, toy: ToyNet) -> None:
    toy.publish(tmp_path)
    ToyNet(seed=1).publish(tmp_path, name="other")
    with grpc_service(tmp_path, DROPSERVE_MODELS=str(tmp_path)) as (_, address), Client(address) as connected:
        connected.unload_model("other")
        assert not connected.is_model_ready("other")
        connected.load_model("other")
        assert connected.is_model_ready("other")
        with pytest.raises(InferenceServerException, match="as it was published"):
            connected.load_model("other", config="{}")


def test_keys_and_counts(published: Path, tmp_path: Path, toy: ToyNet) -> None:
    """As for HTTP: who may ask may not load, and every call is counted."""
    keys = {scope: make_key(scope, scope) for scope in ("infer", "admin")}
    file = tmp_path / "keys"
    file.write_text("\n".join(key.line() for _, key in keys.values()))
    infer, admin = ({"authorization": f"Bearer {secret}"} for secret, _ in keys.values())
    settings = {"DROPSERVE_MODELS": str(published), "DROPSERVE_API_KEYS": str(file)}
    with grpc_service(tmp_path, **settings) as (running, address), Client(address) as connected:
        assert connected.is_server_ready()
        with pytest.raises(InferenceServerException, match="a key is required"):
            connected.infer("toy", [rows_of(toy)])
        with pytest.raises(InferenceServerException, match="has the scope infer; this needs admin"):
            connected.load_model("toy", headers=infer)
        connected.load_model("toy", headers=admin)
        connected.infer("toy", [rows_of(toy)], headers=infer)
        counted = running.client.get("/metrics", headers=infer).text
    route = 'route="/inference.GRPCInferenceService/ModelInfer"'
    lines = [line for line in counted.splitlines() if line.startswith("dropserve_requests_total") and route in line]
    assert {re.search('status="(.*?)"', line)[1] for line in lines} == {"200", "401"}  # type: ignore[index]


def test_calls_in_flight_are_finished(published: Path, tmp_path: Path, toy: ToyNet) -> None:
    settings = {"DROPSERVE_MODELS": str(published), "DROPSERVE_MAX_ROW_SAMPLES": "10000000"}
    with grpc_service(tmp_path, **settings) as (running, address), Client(address) as connected:
        answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        rows = triton.InferInput("input", [1000, 4], "FP32")
        rows.set_data_from_numpy(toy.rows(1000))
        connected.async_infer(
            "toy",
            [rows],
            lambda result, error: answers.put((result, error)),
            outputs=[triton.InferRequestedOutput("votes")],
            parameters={"samples": 5000},
        )
        wait_until(lambda: "dropserve_queue_depth 1.0" in running.client.get("/metrics").text)
        running.stop()
        result, error = answers.get(timeout=PATIENCE)
        assert error is None
        assert result.as_numpy("votes").sum() == 1000 * 5000


def test_callers_deadlines(client_of_triton: Client, toy: ToyNet) -> None:
    rows = triton.InferInput("input", [100, 4], "FP32")
    rows.set_data_from_numpy(toy.rows(100))
    outputs = [triton.InferRequestedOutput("votes")]
    with pytest.raises(InferenceServerException, match=r"(?i)deadline"):
        client_of_triton.infer("toy", [rows], outputs=outputs, parameters={"samples": 10_000}, client_timeout=0.05)
