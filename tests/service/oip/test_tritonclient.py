"""Triton's own client, unchanged, against a live server: over HTTP as JSON and as raw bytes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.http import InferenceServerClient as Client
from tritonclient.http import aio
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from tests.conftest import Serve
from tests.toy import ToyNet


@pytest.fixture
def client_of_triton(client: httpx.Client) -> Iterator[Client]:
    with Client(host(client)) as connected:
        yield connected


def host(client: httpx.Client) -> str:
    return f"{client.base_url.host}:{client.base_url.port}"


def rows_as(toy: ToyNet, binary: bool, kind: Any = triton) -> Any:
    rows = toy.rows(3)
    tensor = kind.InferInput("input", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return tensor


def uncertainty(client: httpx.Client, toy: ToyNet, **fields: Any) -> list[dict[str, Any]]:
    asked = {"inputs": toy.rows(3).tolist()} | fields
    rows: list[dict[str, Any]] = client.post("/v1/models/toy/uncertainty", json=asked).json()["predictions"]
    return rows


def test_what_there_is(client_of_triton: Client) -> None:
    assert client_of_triton.is_server_live()
    assert client_of_triton.is_server_ready()
    assert client_of_triton.is_model_ready("toy", "2")
    assert not client_of_triton.is_model_ready("toy", "3")
    assert not client_of_triton.is_model_ready("nobody")
    assert client_of_triton.get_server_metadata()["name"] == "dropserve"
    assert client_of_triton.get_model_metadata("toy", "1")["versions"] == ["1", "2"]
    assert {model["name"] for model in client_of_triton.get_model_repository_index()} == {"toy", "yield"}


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("answered", [True, False])
def test_json_and_raw_bytes_both_ways(
    sent: bool, answered: bool, client_of_triton: Client, client: httpx.Client, toy: ToyNet
) -> None:
    names = ("label", "probabilities", "mutual_information", "samples", "votes")
    result = client_of_triton.infer(
        "toy",
        [rows_as(toy, sent)],
        outputs=[triton.InferRequestedOutput(name, binary_data=answered) for name in names],
        request_id="mine",
        parameters={"samples": 8, "seed": 5},
    )
    expected = uncertainty(client, toy, samples=8, seed=5, return_samples=True)
    labels = result.as_numpy("label").tolist()
    assert [label.decode() if answered else label for label in labels] == [
        row["deterministic"]["label"] for row in expected
    ]
    same(result.as_numpy("probabilities"), [row["deterministic"]["probabilities"] for row in expected], np.float32)
    same(result.as_numpy("mutual_information"), [row["mutual_information"] for row in expected], np.float64)
    same(result.as_numpy("samples"), [row["sampled"] for row in expected], np.float32)
    same(result.as_numpy("votes"), [row["votes"] for row in expected], np.int64)
    said = result.get_response()
    assert (said["id"], said["model_version"], said["parameters"]) == ("mine", "2", {"samples": 8, "seed": 5})


def same(found: Any, expected: list[Any], dtype: type) -> None:
    np.testing.assert_array_equal(found, np.array(expected, dtype), strict=True)


def test_without_outputs_the_client_gets_raw_bytes_of_the_deterministic_ones(
    client_of_triton: Client, toy: ToyNet
) -> None:
    result = client_of_triton.infer("toy", [rows_as(toy, binary=True)], model_version="1")
    assert [output["name"] for output in result.get_response()["outputs"]] == ["label", "probabilities"]
    assert result.as_numpy("probabilities").dtype == np.float32


@pytest.mark.parametrize("datatype", ["FP64", "FP16", "INT8", "UINT64", "BOOL"])
def test_other_datatypes(datatype: str, client_of_triton: Client) -> None:
    rows = np.array([[0, 1, 1, 0]])
    answers = []
    for kind in (datatype, "FP32"):
        tensor = triton.InferInput("input", [1, 4], kind)
        tensor.set_data_from_numpy(rows.astype(triton_to_np_dtype(kind)))
        answers.append(client_of_triton.infer("toy", [tensor]).as_numpy("probabilities"))
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(algorithm: str, client_of_triton: Client, toy: ToyNet) -> None:
    def ask(**how: Any) -> Any:
        return client_of_triton.infer("toy", [rows_as(toy, binary=True)], **how).as_numpy("probabilities")

    compressed = ask(request_compression_algorithm=algorithm, response_compression_algorithm=algorithm)
    np.testing.assert_array_equal(compressed, ask())


def test_asynchronous_requests(client_of_triton: Client, toy: ToyNet) -> None:
    expected = client_of_triton.infer("toy", [rows_as(toy, binary=True)]).as_numpy("probabilities")
    for pending in [client_of_triton.async_infer("toy", [rows_as(toy, binary=True)]) for _ in range(5)]:
        np.testing.assert_array_equal(pending.get_result().as_numpy("probabilities"), expected)


def test_the_asyncio_client(client: httpx.Client, toy: ToyNet) -> None:
    async def ask(binary: bool) -> Any:
        async with aio.InferenceServerClient(host(client)) as connected:
            assert await connected.is_server_ready()
            outputs = [aio.InferRequestedOutput("variation_ratio", binary_data=binary)]
            result = await connected.infer("toy", [rows_as(toy, binary, aio)], outputs=outputs)
            return result.as_numpy("variation_ratio")

    expected = [row["variation_ratio"] for row in uncertainty(client, toy)]
    for binary in (True, False):
        same(asyncio.run(ask(binary)), expected, np.float64)


def test_refusals_reach_the_client(client_of_triton: Client, toy: ToyNet) -> None:
    tensor = triton.InferInput("input", [1, 5], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 5), np.float32))
    with pytest.raises(InferenceServerException, match=r"inputs\.input\.shape: expected \[-1, 4\]") as refusal:
        client_of_triton.infer("toy", [tensor])
    assert refusal.value.status() == "400"
    with pytest.raises(InferenceServerException, match="there is no model 'nobody'"):
        client_of_triton.infer("nobody", [rows_as(toy, binary=True)])
    with pytest.raises(InferenceServerException, match="there is no such path"):
        client_of_triton.get_model_config("toy")


def test_unload_and_load(serve: Serve, tmp_path: Path, toy: ToyNet) -> None:
    toy.publish(tmp_path)
    ToyNet(seed=1).publish(tmp_path, name="other")
    with serve(models=tmp_path) as client, Client(host(client)) as connected:
        connected.unload_model("other")
        assert not connected.is_model_ready("other")
        states = {model["name"]: model["state"] for model in connected.get_model_repository_index()}
        assert states == {"toy": "READY", "other": "UNAVAILABLE"}
        connected.load_model("other")
        assert connected.is_model_ready("other")
        with pytest.raises(InferenceServerException, match="nobody"):
            connected.load_model("nobody")
        with pytest.raises(InferenceServerException, match="as it was published"):
            connected.load_model("other", config="{}")
