"""A live server: what it answers, what it refuses, and that one caller does not keep another waiting."""

import gzip
import json
import logging
import shutil
import socket
import zlib
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from fastapi import FastAPI
from onnx import TensorProto, helper

from service.api import schemas
from service.api.requests import MAX_JSON_INTEGER
from service.http import site
from service.http.site import make_site
from service.model.manifest import GOLDEN, MANIFEST, PREDICT_GRAPH, SAMPLE_GRAPH
from tests.conftest import Serve
from tests.toy import HIDDEN, ToyNet, serialised

PATHS = ["", "/v1/models/toy", "/v1/models/toy/versions/1", "/v1/models/yield"]
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def rows(toy: ToyNet) -> list[list[float]]:
    return toy.rows(3).tolist()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def heavy_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy so wide that the most a caller may ask takes a few seconds."""
    models = tmp_path_factory.mktemp("heavy")
    ToyNet(hidden=4096).publish(models)
    return models


HEAVY = {"inputs": [[0.5, 0.5, 0.5, 0.5]] * 100, "samples": 10_000}


def refusal(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of a reply, which must have the one form that errors have."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    error = schemas.ErrorReply.model_validate_json(response.content, strict=True).error
    assert error.code == code
    return error.model_dump()


# answers


@pytest.mark.parametrize("path", PATHS)
def test_predict(client: httpx.Client, rows: list[list[float]], path: str) -> None:
    response = client.post(f"{path}/predict", json={"inputs": rows})
    assert response.status_code == 200
    reply = schemas.PredictReply.model_validate_json(response.content, strict=True)
    assert len(reply.predictions) == len(rows)
    assert (reply.model, reply.version) == {
        "": ("toy", 2),
        "/v1/models/toy": ("toy", 2),
        "/v1/models/toy/versions/1": ("toy", 1),
        "/v1/models/yield": ("yield", 1),
    }[path]


@pytest.mark.parametrize("path", PATHS)
def test_uncertainty(client: httpx.Client, rows: list[list[float]], path: str) -> None:
    response = client.post(f"{path}/uncertainty", json={"inputs": rows, "samples": 20, "seed": 7})
    assert response.status_code == 200
    reply = schemas.UncertaintyReply.model_validate_json(response.content, strict=True)
    assert (len(reply.predictions), reply.samples, reply.seed) == (len(rows), 20, 7)


def test_predictions_are_the_toys_arithmetic(client: httpx.Client, toy: ToyNet, rows: list[list[float]]) -> None:
    logits = toy.predict(toy.rows(3)) / 1.5
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    reply = client.post("/v1/models/toy/versions/1/predict", json={"inputs": rows}).json()
    np.testing.assert_allclose([row["probabilities"] for row in reply["predictions"]], expected, atol=1e-6)


def test_the_same_seed_gives_the_same_bytes(client: httpx.Client, rows: list[list[float]]) -> None:
    ask = {"inputs": rows, "samples": 50}
    first, again, other = (client.post("/uncertainty", json=ask | {"seed": seed}) for seed in (7, 7, 8))
    assert first.content == again.content
    assert first.json()["predictions"] != other.json()["predictions"]


def test_without_a_seed_the_answer_is_the_same_each_time(client: httpx.Client, rows: list[list[float]]) -> None:
    first, again = (client.post("/uncertainty", json={"inputs": rows}) for _ in range(2))
    assert first.content == again.content
    assert (first.json()["seed"], first.json()["samples"]) == (0, 100)


def test_another_server_gives_the_same_bytes(
    client: httpx.Client, serve: Serve, published: Path, rows: list[list[float]]
) -> None:
    ask = {"inputs": rows, "samples": 300, "seed": 11}
    with serve(models=published, mask_cache_bytes=0, inline_seconds=0) as other:
        assert other.post("/uncertainty", json=ask).content == client.post("/uncertainty", json=ask).content


def test_a_random_seed_is_named_and_can_be_sent_again(client: httpx.Client, rows: list[list[float]]) -> None:
    drawn, another = (client.post("/uncertainty", json={"inputs": rows, "seed": "random"}) for _ in range(2))
    seed = drawn.json()["seed"]
    assert seed != another.json()["seed"]
    assert client.post("/uncertainty", json={"inputs": rows, "seed": seed}).content == drawn.content


def test_the_largest_seed_is_read_back(client: httpx.Client, rows: list[list[float]]) -> None:
    asked = {"inputs": rows, "seed": MAX_JSON_INTEGER}
    assert client.post("/uncertainty", json=asked).json()["seed"] == MAX_JSON_INTEGER


def test_a_row_does_not_depend_on_its_batch_mates(client: httpx.Client, rows: list[list[float]]) -> None:
    together = client.post("/uncertainty", json={"inputs": rows, "seed": 7}).json()["predictions"]
    for row, expected in zip(rows, together, strict=True):
        [alone] = client.post("/uncertainty", json={"inputs": [row], "seed": 7}).json()["predictions"]
        for name in ("mean_probabilities", "standard_deviation", "mutual_information", "predictive_entropy"):
            np.testing.assert_allclose(alone[name], expected[name], atol=1e-6)


def test_rows_too_many_for_one_run(client: httpx.Client, toy: ToyNet) -> None:
    many = toy.rows(9000).tolist()
    reply = client.post("/predict", json={"inputs": many}).json()["predictions"]
    [last] = client.post("/predict", json={"inputs": many[-1:]}).json()["predictions"]
    assert len(reply) == 9000
    np.testing.assert_allclose(reply[-1]["probabilities"], last["probabilities"], atol=1e-6)


def test_the_defaults_may_be_set(serve: Serve, published: Path, rows: list[list[float]]) -> None:
    with serve(models=published, seed=5, samples=3, default_model="yield") as client:
        reply = client.post("/uncertainty", json={"inputs": rows}).json()
    assert (reply["model"], reply["seed"], reply["samples"]) == ("yield", 5, 3)


# refusals


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"", 400, "malformed_body", None),
        (b'{"inputs": [[1, 2', 400, "malformed_body", None),
        (b"\xff", 400, "malformed_body", None),
        (b"[1]", 400, "malformed_body", None),
        (b'{"inputs": ' + b"[" * 100_000, 400, "malformed_body", None),
        (b"{}", 422, "invalid_input", "inputs"),
        (b'{"inputs": []}', 422, "invalid_input", "inputs"),
        (b'{"input": [[1, 2, 3, 4]]}', 422, "invalid_input", "input"),
        (b'{"inputs": [[1, 2, 3, 4], [1, 2, 3]]}', 422, "invalid_input", "inputs[1]"),
        (b'{"inputs": [[1, 2, 3, "4"]]}', 422, "invalid_input", "inputs[0][3]"),
        (b'{"inputs": [[1, 2, 3, NaN]]}', 422, "invalid_input", "inputs[0][3]"),
        (b'{"inputs": [[1, 2, 3, 1e999]]}', 422, "invalid_input", "inputs[0][3]"),
        (b'{"inputs": [[1, 2, 3, 1e300]]}', 422, "invalid_input", "inputs[0][3]"),
        (b'{"inputs": {"x": [[1]]}}', 422, "invalid_input", "inputs.x"),
        (b'{"inputs": [[1, 2, 3, 4]], "samples": 0}', 422, "invalid_input", "samples"),
        (b'{"inputs": [[1, 2, 3, 4]], "samples": 2.5}', 422, "invalid_input", "samples"),
        (b'{"inputs": [[1, 2, 3, 4]], "samples": 10001}', 422, "limit_exceeded", "samples"),
        (b'{"inputs": [[1, 2, 3, 4]], "seed": -1}', 422, "invalid_input", "seed"),
        (b'{"inputs": [[1, 2, 3, 4]], "seed": 9223372036854775808}', 422, "invalid_input", "seed"),
    ],
)
def test_bad_input(client: httpx.Client, body: bytes, status: int, code: str, field: str | None) -> None:
    error = refusal(client.post("/uncertainty", content=body, headers=JSON), status, code)
    assert error["details"].get("field") == field
    assert error["message"].startswith(field or "the body")


def test_too_many_rows(client: httpx.Client) -> None:
    error = refusal(client.post("/predict", json={"inputs": [[0] * 4] * 10_001}), 422, "limit_exceeded")
    assert error["details"] == {"field": "inputs", "given": 10_001, "limit": 10_000}


def test_too_many_rows_times_samples(client: httpx.Client) -> None:
    body = {"inputs": [[0] * 4] * 101, "samples": 10_000}
    error = refusal(client.post("/uncertainty", json=body), 422, "limit_exceeded")
    assert error["details"] == {"field": "samples", "given": 1_010_000, "limit": 1_000_000}


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_another_content_type(client: httpx.Client, media_type: str) -> None:
    response = client.post("/predict", content=b'{"inputs": [[1, 2, 3, 4]]}', headers={"content-type": media_type})
    error = refusal(response, 415, "unsupported_media_type")
    assert error["details"] == {"field": "content-type", "expected": "application/json"}


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_by_any_spelling(client: httpx.Client, media_type: str) -> None:
    body = b'{"inputs": [[1, 2, 3, 4]]}'
    assert client.post("/predict", content=body, headers={"content-type": media_type}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"content-type": ""}])
def test_no_content_type_is_taken_for_json(client: httpx.Client, headers: dict[str, str]) -> None:
    assert client.post("/predict", content=b'{"inputs": [[1, 2, 3, 4]]}', headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/uncertainty"])
@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_bodies_may_be_compressed(
    client: httpx.Client, rows: list[list[float]], path: str, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    body = json.dumps({"inputs": rows}).encode()
    reply = client.post(path, content=compress(body), headers=JSON | {"content-encoding": encoding})
    assert reply.status_code == 200
    assert reply.content == client.post(path, content=body, headers=JSON).content


def test_an_encoding_that_is_not_known(client: httpx.Client) -> None:
    reply = client.post("/predict", content=b"{}", headers=JSON | {"content-encoding": "br"})
    error = refusal(reply, 415, "unsupported_media_type")
    assert error["message"] == "content-encoding: expected one of gzip, deflate, identity; found br"


def test_what_a_body_holds_is_bounded_too(serve: Serve, published: Path) -> None:
    body = gzip.compress(b" " * 1001)
    with serve(models=published, max_body_bytes=1000) as client:
        reply = client.post("/predict", content=body, headers=JSON | {"content-encoding": "gzip"})
        assert refusal(reply, 413, "body_too_large")["details"] == {"limit": 1000}


def test_query_parameters_are_refused(client: httpx.Client) -> None:
    reply = client.post("/uncertainty?seed=3&samples=5", json={"inputs": [[1, 2, 3, 4]]})
    error = refusal(reply, 422, "invalid_input")
    assert error["message"] == "?seed: there are no query parameters; fields go into the JSON body"
    assert error["details"] == {"field": "seed"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/models/nope/predict", "model: there is no model 'nope'; known models: toy, yield"),
        ("/v1/models/toy/versions/3/uncertainty", "version: model 'toy' has no version 3; known versions: 1, 2"),
    ],
)
def test_an_unknown_model(client: httpx.Client, path: str, message: str) -> None:
    error = refusal(client.post(path, json={"inputs": [[0] * 4]}), 404, "unknown_model")
    assert error["message"] == message


@pytest.mark.parametrize("version", ["latest", "-1", "1.0", "٣", "9" * 30])
def test_a_version_that_is_no_number(client: httpx.Client, version: str) -> None:
    response = client.post(f"/v1/models/toy/versions/{version}/predict", json={"inputs": [[0] * 4]})
    assert refusal(response, 422, "invalid_input")["details"] == {"field": "version"}


def test_no_such_path(client: httpx.Client) -> None:
    error = refusal(client.get("/predictions"), 404, "unknown_path")
    assert error["message"].startswith("GET /predictions: ")


def test_no_such_method(client: httpx.Client) -> None:
    response = client.get("/predict")
    assert response.headers["allow"] == "POST"
    refusal(response, 405, "method_not_allowed")


@pytest.mark.parametrize("size", [1001, 5_000_000])
def test_a_body_too_large(serve: Serve, published: Path, size: int) -> None:
    with serve(models=published, max_body_bytes=1000) as client:
        response = client.post("/predict", content=b" " * size, headers=JSON)
        assert refusal(response, 413, "body_too_large")["details"] == {"limit": 1000}
        assert client.post("/predict", content=b" " * 1000, headers=JSON).status_code == 400


def test_an_internal_error_is_answered_without_its_traceback(
    published: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_broken_site(*arguments: Any) -> FastAPI:
        made = make_site(*arguments)

        @made.get("/broken")
        async def broken() -> None:
            raise RuntimeError("a secret")

        return made

    monkeypatch.setattr(site, "make_site", make_broken_site)
    with serve(models=published) as client:
        response = client.get("/broken")
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert refusal(response, 500, "internal")["details"] == {}


# readiness


def test_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert schemas.Ready.model_validate_json(ready.content, strict=True).models == {"toy": [1, 2], "yield": [1]}


def test_no_model_is_not_ready(serve: Serve, tmp_path: Path) -> None:
    with serve(models=tmp_path) as client:
        for response in (client.get("/readyz"), client.post("/predict", json={"inputs": []})):
            assert "there is no model in" in refusal(response, 503, "not_ready")["message"]
            assert response.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200


def test_health_needs_no_body(client: httpx.Client, serve: Serve, tmp_path: Path) -> None:
    for path in ("/healthz", "/readyz"):
        reply = client.head(path)
        assert (reply.status_code, reply.content) == (200, b"")
        assert int(reply.headers["content-length"]) == len(client.get(path).content)
    with serve(models=tmp_path) as empty:
        assert (empty.head("/healthz").status_code, empty.head("/readyz").status_code) == (200, 503)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        *product([PREDICT_GRAPH, SAMPLE_GRAPH, GOLDEN], [flip_a_bit, truncate, Path.unlink]),
        *product([MANIFEST], [truncate, Path.unlink]),
    ],
)
def test_a_damaged_model_is_never_ready_and_has_a_reason(
    serve: Serve, toy: ToyNet, tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    folder = toy.publish(tmp_path)
    harm(folder / name)
    with serve(models=tmp_path) as client:
        error = refusal(client.get("/readyz"), 503, "not_ready")
        assert name in error["details"]["failures"]["toy/1"]
        for path in ("/predict", "/uncertainty", "/v1/models/toy/predict", "/v1/models/toy/versions/1/predict"):
            refusal(client.post(path, json={"inputs": [[0] * 4]}), 503, "not_ready")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": 3}, "schema_version: "),
        ({"dropout_rate": 0.5}, "dropout_rate: "),
        ({"version": 2}, "the manifest is of toy/2, the folder is toy/1"),
        ({"sites": [{"name": "h", "kind": "dropout", "p": 0.5, "shape": [33]}]}, "mask_0 is float32"),
        ({"sites": [{"name": "h", "kind": "dropout", "p": 0.4, "shape": [32]}]}, "the model's answers differ"),
    ],
)
def test_a_model_with_an_invalid_manifest_is_never_ready_and_has_a_reason(
    serve: Serve, toy: ToyNet, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    path = toy.publish(tmp_path) / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with serve(models=tmp_path) as client:
        error = refusal(client.get("/readyz"), 503, "not_ready")
        assert reason in error["details"]["failures"]["toy/1"]
        refusal(client.post("/predict", json={"inputs": [[0] * 4]}), 503, "not_ready")


def test_a_damaged_version_is_listed_while_another_serves(serve: Serve, published: Path, tmp_path: Path) -> None:
    models = shutil.copytree(published, tmp_path / "models")
    truncate(models / "toy" / "2" / SAMPLE_GRAPH)
    with serve(models=models) as client:
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert "sample.onnx: is damaged" in ready.json()["failures"]["toy/2"]
        assert client.post("/predict", json={"inputs": [[0] * 4]}).json()["version"] == 1


# many callers


def post_heavy(client: httpx.Client, threads: ThreadPoolExecutor) -> tuple[Future[httpx.Response], httpx.Response]:
    """Ask twice for as much as is allowed, where one may queue: the one being worked on, and the refusal."""
    asked = [threads.submit(client.post, "/uncertainty", json=HEAVY) for _ in range(2)]
    refused, admitted = wait(asked, return_when=FIRST_COMPLETED)
    return admitted.pop(), refused.pop().result()


def test_heavy_work_does_not_keep_others_waiting(serve: Serve, heavy_models: Path) -> None:
    with serve(models=heavy_models, queue_size=1) as client, ThreadPoolExecutor(2) as threads:
        heavy, _ = post_heavy(client, threads)
        replies = [client.post("/predict", json={"inputs": [[0] * 4]}) for _ in range(10)]
        replies.append(client.get("/readyz"))
        assert not heavy.done()
        assert {reply.status_code for reply in replies} == {200}
        assert heavy.result().status_code == 200


def test_a_full_queue_refuses_with_retry_after(serve: Serve, heavy_models: Path) -> None:
    with serve(models=heavy_models, queue_size=1) as client, ThreadPoolExecutor(2) as threads:
        _, refused = post_heavy(client, threads)
        assert "try again" in refusal(refused, 429, "overloaded")["message"]
        assert int(refused.headers["retry-after"]) >= 1


def test_a_passed_deadline_is_reported_and_frees_the_queue(serve: Serve, heavy_models: Path) -> None:
    with serve(models=heavy_models, queue_size=1, request_timeout=0.05) as client:
        for _ in range(2):
            error = refusal(client.post("/uncertainty", json=HEAVY), 504, "deadline_exceeded")
            assert 0 < error["details"]["seconds"] <= 0.05
        assert client.post("/predict", json={"inputs": [[0] * 4]}).status_code == 200


def test_callers_at_once_get_their_own_answers(client: httpx.Client, toy: ToyNet) -> None:
    asks = [{"inputs": [row], "seed": seed} for seed, row in enumerate(toy.rows(60).tolist())]
    alone = [client.post("/uncertainty", json=ask).content for ask in asks]
    with ThreadPoolExecutor(8) as threads:
        together = [reply.content for reply in threads.map(lambda ask: client.post("/uncertainty", json=ask), asks)]
    assert together == alone


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


def test_a_token_that_the_model_does_not_have(tmp_path: Path, serve: Serve) -> None:
    """onnxruntime refuses an index out of bounds when it runs: a 500."""
    Tokens().publish(tmp_path, inputs=({"name": "input", "dtype": "int64", "shape": (2,)},), features=())
    with serve(models=tmp_path) as client:
        assert client.post("/predict", json={"inputs": [[1, 4]]}).status_code == 200
        response = client.post("/predict", json={"inputs": [[1, 2], [1, 5]]})
        assert response.status_code == 422
        assert response.json()["error"]["code"] == "invalid_input"


def test_a_good_model_answers_while_another_is_damaged(toy: ToyNet, tmp_path: Path, serve: Serve) -> None:
    """`find` says NotReady «when nothing is loaded»; /readyz may well stay 503, that is another question."""
    toy.publish(tmp_path)
    (toy.publish(tmp_path, name="other") / PREDICT_GRAPH).write_bytes(b"damaged")
    with serve(models=tmp_path) as client:
        assert client.post("/v1/models/toy/predict", json={"inputs": [[0] * 4]}).status_code == 200
        response = client.post("/v1/models/other/predict", json={"inputs": [[0] * 4]})
        assert response.status_code == 503
        assert "is damaged" in response.text


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


def test_a_wrong_method_has_a_code_of_its_own(client: httpx.Client) -> None:
    """405 with «not_found»."""
    assert client.get("/predict").json()["error"]["code"] == "method_not_allowed"


def test_the_probability_is_that_of_the_list(client: httpx.Client) -> None:
    """float64 beside float32: 0.7338713408 beside 0.73387134, so that no equality holds."""
    [row] = client.post("/predict", json={"inputs": [[0.5] * 4]}).json()["predictions"]
    assert row["probability"] == max(row["probabilities"])


def test_a_disconnected_caller_is_not_a_server_error(
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
