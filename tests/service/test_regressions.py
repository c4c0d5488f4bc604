"""What once went wrong, and must not again."""

import io
import json
import logging
import re
import signal
import socket
import subprocess
import sys
import zipfile
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from service.__main__ import cli
from service.api.decoding import decode_inputs, decode_request
from service.api.requests import PredictRequest
from service.errors import InvalidInput, InvalidModel, InvalidRequest, MalformedBody
from service.files import read_rows
from service.inputs import check_inputs
from service.loading import load_model
from service.manifest import GOLDEN, PREDICT_GRAPH, SAMPLE_GRAPH, Manifest
from service.masks import MaskCache
from service.repository.repository import Repository
from tests.conftest import PATIENCE, Serve, wait_until
from tests.service.test_files import npy, npz
from tests.service.test_golden import changed
from tests.service.test_loading import replace
from tests.toy import HIDDEN, ToyNet

JSON = {"content-type": "application/json"}


# 1. answers of 500 to a caller's mistake


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"inputs": [[1, 2, 3, 4]], "samples": 99999999999999999999999}', 422),  # details: orjson, > 64 bits
        (b'{"\xff": 1}', 400),  # msgspec raises UnicodeDecodeError for keys
        (b'{"inputs": {"\xff": [[1, 2, 3, 4]]}}', 400),  # the same in _rows_by_name
        (b'{"inputs": {"\\ud800": NaN}}', 422),  # json.loads takes it, orjson cannot write the message
    ],
)
def test_bad_bodies_are_the_callers_mistake(published: Path, serve: Serve, body: bytes, status: int) -> None:
    with serve(models=published) as client:
        assert client.post("/uncertainty", content=body, headers=JSON).status_code == status


class Tokens(ToyNet):
    """An embedding of 5 tokens, averaged over the 2 of a row, kept or not, and mapped to 3 classes."""

    def graph(self, *, masked: bool) -> bytes:
        rng = np.random.default_rng(0)
        arrays = {"table": rng.normal(size=(5, HIDDEN)), "w": rng.normal(size=(HIDDEN, 3))}
        weights = [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
        inputs = [helper.make_tensor_value_info("input", TensorProto.INT64, ["rows", 2])]
        nodes = [
            helper.make_node("Gather", ["table", "input"], ["embedded"]),
            helper.make_node("ReduceMean", ["embedded", "axis"], ["h"], keepdims=0),
        ]
        if masked:
            inputs.append(helper.make_tensor_value_info("mask_0", TensorProto.FLOAT, ["passes", 1, HIDDEN]))
            nodes.append(helper.make_node("Mul", ["h", "mask_0"], ["kept"]))
        nodes.append(helper.make_node("MatMul", ["kept" if masked else "h", "w"], ["output"]))
        shape: list[str | int] = [*(["passes"] if masked else []), "rows", 3]
        output = helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)
        axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
        return serialised(helper.make_graph(nodes, "tokens", inputs, [output], [*weights, axis]))

    def rows(self, count: int, seed: int = 1) -> Any:
        return np.random.default_rng(seed).integers(0, 5, size=(count, 2))


def serialised(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def test_a_token_that_the_model_does_not_have(tmp_path: Path, serve: Serve) -> None:
    """onnxruntime refuses an index out of bounds when it runs: a 500."""
    Tokens().publish(tmp_path, inputs=({"name": "input", "dtype": "int64", "shape": (2,)},), features=())
    with serve(models=tmp_path) as client:
        assert client.post("/predict", json={"inputs": [[1, 4]]}).status_code == 200
        response = client.post("/predict", json={"inputs": [[1, 2], [1, 5]]})
        assert response.status_code == 422
        assert response.json()["error"]["code"] == "invalid_input"


# 2. a model that is wrong in another way than InvalidModel ends the loading of all: «being loaded» for ever


@pytest.mark.parametrize(
    "changes",
    [
        {"predict": np.full((5, 3), "a")},
        {"seed": np.int64(-1)},
        {"sample": np.zeros((0, 5, 3), np.float32)},
    ],
)
def test_odd_golden_answers_are_an_invalid_model(toy: ToyNet, tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = toy.publish(tmp_path)
    replace(folder, GOLDEN, changed((folder / GOLDEN).read_bytes(), **changes))
    with pytest.raises(InvalidModel):
        load_model(folder, MaskCache(0))


def stored(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def deflate_damaged() -> bytes:
    content = bytearray(npz(input=np.random.default_rng(0).normal(size=(20, 4))))
    content[62] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize("content", [npy(np.ones((5, 4))), deflate_damaged()])
def test_odd_golden_files_are_an_invalid_model(toy: ToyNet, tmp_path: Path, content: bytes) -> None:
    folder = toy.publish(tmp_path)
    replace(folder, GOLDEN, content)
    with pytest.raises(InvalidModel):
        load_model(folder, MaskCache(0))


def failing_graph() -> bytes:
    """Loads, has the right inputs and outputs, and cannot be run."""
    nodes = [
        helper.make_node("Reshape", ["input", "shape"], ["five"]),
        helper.make_node("Gather", ["five", "three"], ["output"], axis=1),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 7])
    three = helper.make_tensor("three", TensorProto.INT64, [3], [0, 1, 2])
    given = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", 4])]
    answer = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["rows", 3])]
    return serialised(helper.make_graph(nodes, "failing", given, answer, [shape, three]))


def test_a_graph_that_cannot_run_is_an_invalid_model(toy: ToyNet, tmp_path: Path) -> None:
    folder = toy.publish(tmp_path)
    replace(folder, PREDICT_GRAPH, failing_graph())
    repository = Repository(tmp_path, MaskCache(0))
    repository.refresh()
    assert "predict.onnx" in repository.catalogue.failures["toy/1"]


# 3. one damaged model takes the healthy ones with it


def test_a_good_model_answers_while_another_is_damaged(toy: ToyNet, tmp_path: Path, serve: Serve) -> None:
    """`find` says NotReady «when nothing is loaded»; /readyz may well stay 503, that is another question."""
    toy.publish(tmp_path)
    (toy.publish(tmp_path, name="other") / PREDICT_GRAPH).write_bytes(b"damaged")
    with serve(models=tmp_path) as client:
        assert client.post("/v1/models/toy/predict", json={"inputs": [[0] * 4]}).status_code == 200
        response = client.post("/v1/models/other/predict", json={"inputs": [[0] * 4]})
        assert response.status_code == 503
        assert "is damaged" in response.text


# 4. the process


def test_sigterm_exits_with_0(published: Path) -> None:
    """uvicorn raises the signal again after it has drained: -15, which compose and Kubernetes count as a crash."""
    command = [sys.executable, "-m", "service", "serve", "--models", str(published), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        next(line for line in process.stderr if "running on" in line)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(PATIENCE) == 0


# 5. settings that contradict each other


def test_a_low_limit_of_samples_is_also_the_default(serve: Serve, published: Path) -> None:
    """DROPSERVE_MAX_SAMPLES=10 alone: each request without samples is refused for 100 that it never asked for,
    and so is the example in /docs. Refuse such settings at the start, or take the lesser."""
    with serve(models=published, max_samples=10) as client:
        assert client.post("/uncertainty", json={"inputs": [[0] * 4]}).status_code == 200


def test_the_seed_of_a_reply_can_be_sent_again(serve: Serve, published: Path) -> None:
    """Settings take seeds up to 2^64 - 1, requests up to 2^63 - 1."""
    try:
        context = serve(models=published, seed=2**64 - 1)
    except ValueError:
        return  # refused at the start: right too
    with context as client:
        seed = client.post("/uncertainty", json={"inputs": [[0] * 4]}).json()["seed"]
        assert client.post("/uncertainty", json={"inputs": [[0] * 4], "seed": seed}).status_code == 200


# 6. the command line


def test_brackets_in_a_message_are_not_markup(toy: ToyNet, tmp_path: Path) -> None:
    """rich eats «[any, 1, 32]» of the message; and fails at «[/x]». Print with markup=False, or escape."""
    folder = toy.publish(tmp_path)
    replace(folder, SAMPLE_GRAPH, ToyNet(hidden=HIDDEN + 1).graph(masked=True))
    result = CliRunner().invoke(cli, ["check", str(folder)])
    assert f"expected float32 [any, 1, {HIDDEN}]" in result.stderr


@pytest.mark.parametrize("name", ["[/x].csv", "[red]rows.csv"])
def test_brackets_in_a_file_name_are_not_markup(published: Path, name: str) -> None:
    result = CliRunner().invoke(cli, ["predict", name, "--models", str(published)])
    assert result.exit_code == 1
    assert name in result.stderr


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("npy", npz(input=np.ones((1, 4)))),  # AttributeError
        ("npz", npy(np.ones((1, 4)))),  # TypeError
        ("npz", stored(readme=b"hello")),  # AttributeError
        ("npz", deflate_damaged()),  # zlib.error
    ],
)
def test_odd_arrays_are_told_in_words(manifest: Manifest, kind: str, content: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_rows(content, kind, manifest)


@pytest.mark.parametrize("array", [np.ones((2, 4, 1)), np.ones(())])
def test_an_array_of_other_dimensions_is_told_so(manifest: Manifest, array: Any) -> None:
    """It was: «inputs: expected 2 values, found 2 values»; and a scalar «is empty»."""
    with pytest.raises(InvalidInput) as refusal:
        check_inputs({"input": array}, manifest, 10)
    counts = re.search(r"expected (\d+) values?, found (\d+)", refusal.value.message)
    assert not (counts and counts[1] == counts[2])
    assert "is empty" not in refusal.value.message


def test_a_column_for_a_row_of_one_number() -> None:
    """«inputs: expected 3 values, found 3 values; a row is 1 numbers»."""
    with pytest.raises(InvalidInput) as refusal:
        check_inputs({"input": np.ones(3)}, ToyNet(features=1).manifest(), 10)
    assert "expected 3 values, found 3" not in refusal.value.message
    assert "1 numbers" not in refusal.value.message


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"1,2,3,4\n\n1,2,x,4\n", 3), (b'x0,x1,x2,x3,note\n1,2,3,4,"two\nlines"\n1,2,x,4,\n', 4)],
)
def test_lines_are_counted_as_an_editor_does(manifest: Manifest, content: bytes, line: int) -> None:
    """csv.reader's `line_num` knows."""
    with pytest.raises(InvalidInput, match=f"^line {line}, column 3"):
        read_rows(content, "csv", manifest)


@pytest.mark.parametrize("content", [b"1,2,3,nan\n", b"1,2,3,1e300\n", b"1,2,3,inf\n"])
def test_a_number_that_is_not_finite_is_told_by_line_and_column_too(manifest: Manifest, content: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^line 1, column 4"):
        read_rows(content, "csv", manifest)


def test_underscores_are_no_digits(manifest: Manifest) -> None:
    """float("1_000") is 1000.0 in Python, and nowhere else."""
    with pytest.raises(InvalidInput):
        read_rows(b"1,2,3,4\n1_000,2,3,4\n", "csv", manifest)


def test_an_empty_cell_makes_no_header(manifest: Manifest) -> None:
    """«line 1: the header lacks x0»."""
    with pytest.raises(InvalidInput, match=r"^line 1, column 2"):
        read_rows(b"1,,3,4\n5,6,7,8\n", "csv", manifest)


def test_the_body_of_an_uncertainty_request_can_be_scored(published: Path) -> None:
    body = json.dumps({"inputs": [[0] * 4], "samples": 5, "seed": 7})
    result = CliRunner().invoke(cli, ["predict", "-", "--models", str(published), "--uncertainty"], input=body)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["seed"] == 7


def test_an_empty_file_is_told_so(manifest: Manifest) -> None:
    """«the body is not JSON: … (byte 10)»: a place in a text that the caller never wrote."""
    with pytest.raises(MalformedBody) as refusal:
        read_rows(b"[[1, 2, 3, 4], x]", "json", manifest)
    assert "byte 15" in refusal.value.message


# 7. small things of the API


def test_a_wrong_method_has_a_code_of_its_own(client: httpx.Client) -> None:
    """405 with «not_found»."""
    assert client.get("/predict").json()["error"]["code"] == "method_not_allowed"


def test_a_field_without_a_name_is_an_unknown_field() -> None:
    """«the body: object contains unknown field ``», 400: the empty name is falsy."""
    with pytest.raises(InvalidInput, match="there is no such field"):
        decode_request(b'{"": 1}', PredictRequest)


def test_a_whole_number_far_too_large_is_named_by_row() -> None:
    manifest = ToyNet().manifest(inputs=({"name": "tokens", "dtype": "int64", "shape": (2,)},))
    with pytest.raises(InvalidInput) as refusal:
        decode_inputs(decode_request(b'{"inputs": [[1, 2], [3, %d]]}' % 10**30, PredictRequest).inputs, manifest, 10)
    assert refusal.value.details == {"field": "inputs[1][1]", "row": 1}


def test_the_probability_is_that_of_the_list(client: httpx.Client) -> None:
    """float64 beside float32: 0.7338713408 beside 0.73387134, so that no equality holds."""
    [row] = client.post("/predict", json={"inputs": [[0.5] * 4]}).json()["predictions"]
    assert row["probability"] == max(row["probabilities"])


def test_the_paths_of_the_examples_exist(client: httpx.Client) -> None:
    """/docs offers /v1/models/digits/versions/1 whatever is served: «try it out» gives 404 for another model."""
    api = client.get("/openapi.json").json()
    for path, operations in api["paths"].items():
        if "requestBody" in operations.get("post", {}):
            post = operations["post"]
            example = {parameter["name"]: parameter["example"] for parameter in post.get("parameters", [])}
            body = post["requestBody"]["content"]["application/json"]["example"]
            assert client.post(path.format(**example), json=body).status_code == 200


def test_a_request_cut_off_by_the_drain_timeout_is_told_in_the_form_of_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was: 500, text/plain, «Internal Server Error», and a stack trace in the log."""
    ToyNet(hidden=4096).publish(tmp_path)
    monkeypatch.setenv("DROPSERVE_DRAIN_TIMEOUT", "1")
    monkeypatch.setenv("DROPSERVE_QUEUE_SIZE", "1")
    command = [sys.executable, "-m", "service", "serve", "--models", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        line = next(line for line in process.stderr if "running on" in line)
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found
        url = found[0]
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        body = {"inputs": [[0.5] * 4] * 100, "samples": 10_000}
        with ThreadPoolExecutor(2) as threads:
            asked = [threads.submit(httpx.post, f"{url}/uncertainty", json=body, timeout=PATIENCE) for _ in range(2)]
            _, admitted = wait(asked, return_when=FIRST_COMPLETED)
            process.send_signal(signal.SIGTERM)
            answer = admitted.pop().result()
        assert answer.status_code == 503
        assert "error" in answer.json()
        assert "Traceback" not in process.stderr.read()


def test_a_caller_who_hangs_up_is_no_error_of_ours(
    serve: Serve, published: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """starlette's ClientDisconnect comes to `_fail`: «unexpected error» and two stack traces in the log."""
    caplog.set_level(logging.ERROR)
    with serve(models=published) as client:
        port = client.base_url.port
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        client.get("/healthz")
    captured = capfd.readouterr()
    assert "ClientDisconnect" not in captured.out + captured.err + caplog.text
