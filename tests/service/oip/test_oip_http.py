"""The Open Inference Protocol over HTTP: statuses, headers, refusals, and the same numbers as elsewhere."""

import gzip
import json
from typing import Any

import httpx
import numpy as np
import pytest

from service.oip.datatypes import DTYPES
from service.oip.outputs import CLASSIFICATION, REGRESSION
from tests.conftest import Serve
from tests.toy import ToyNet

INFER = "/v2/models/toy/versions/1/infer"
LENGTH = "inference-header-content-length"


def body(toy: ToyNet, rows: int = 3, outputs: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    sent = toy.rows(rows)
    tensor = {"name": "input", "shape": list(sent.shape), "datatype": "FP32", "data": sent.ravel().tolist()}
    return {"inputs": [tensor], "outputs": [{"name": name} for name in outputs]} | fields


def infer(client: httpx.Client, asked: dict[str, Any], path: str = INFER) -> dict[str, Any]:
    reply = client.post(path, json=asked)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def tensors(answer: dict[str, Any]) -> dict[str, Any]:
    """Outputs as nested lists."""
    return {
        output["name"]: np.array(output["data"], dtype=object).reshape(output["shape"]).tolist()
        for output in answer["outputs"]
    }


def refused(reply: httpx.Response, status: int) -> str:
    """The message of a refusal, which has the protocol's own form."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    assert list(reply.json()) == ["error"]
    message = reply.json()["error"]
    assert isinstance(message, str)
    return message


# what the server says of itself


def test_the_server(client: httpx.Client) -> None:
    for path in ("/v2", "/v2/"):
        said = client.get(path).json()
        assert said["name"] == "dropserve"
        assert {"binary_tensor_data", "model_repository"} <= set(said["extensions"])


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True, "live": True}),
        ("/v2/models/toy/ready", {"name": "toy", "ready": True}),
        ("/v2/models/toy/versions/2/ready", {"name": "toy", "ready": True}),
    ],
)
def test_health(path: str, answer: dict[str, Any], client: httpx.Client) -> None:
    assert client.get(path).json() == answer
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("name", ["toy", "yield"])
def test_a_model_lists_all_outputs(name: str, client: httpx.Client, toy: ToyNet) -> None:
    said = client.get(f"/v2/models/{name}").json()
    assert said["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]
    outputs = {output["name"]: output for output in said["outputs"]}
    assert list(outputs) == list(CLASSIFICATION if name == "toy" else REGRESSION)
    answer = infer(client, body(toy, outputs=tuple(outputs), parameters={"samples": 6}), f"/v2/models/{name}/infer")
    for output in answer["outputs"]:
        shown = outputs[output["name"]]
        assert output["datatype"] == shown["datatype"]
        assert len(output["shape"]) == len(shown["shape"])
        for size, expected in zip(output["shape"], shown["shape"], strict=True):
            assert expected in (size, -1)


def test_versions(client: httpx.Client) -> None:
    assert client.get("/v2/models/toy").json()["versions"] == ["1", "2"]
    assert client.get("/v2/models/toy/versions/1").json()["platform"] == "onnxruntime_onnx"


def test_the_index_lists_every_version(client: httpx.Client) -> None:
    listed = client.post("/v2/repository/index").json()
    assert [(row["name"], row["version"], row["state"]) for row in listed] == [
        ("toy", "1", "READY"),
        ("toy", "2", "READY"),
        ("yield", "1", "READY"),
    ]
    assert client.post("/v2/repository/index", json={"ready": True}).json() == listed


# answers


def test_no_output_named_means_the_deterministic_ones(client: httpx.Client, toy: ToyNet) -> None:
    answer = infer(client, body(toy, id="abc"))
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("toy", "1", "abc")
    assert "parameters" not in answer
    expected = client.post("/v1/models/toy/versions/1/predict", json={"inputs": toy.rows(3).tolist()}).json()
    assert tensors(answer) == {
        name: [row[name] for row in expected["predictions"]] for name in ("label", "probabilities")
    }


def test_without_a_version_the_highest_answers(client: httpx.Client, toy: ToyNet) -> None:
    assert infer(client, body(toy), "/v2/models/toy/infer")["model_version"] == "2"


def test_outputs_are_in_the_requested_order(client: httpx.Client, toy: ToyNet) -> None:
    names = ("votes", "label", "mutual_information")
    assert tuple(output["name"] for output in infer(client, body(toy, outputs=names))["outputs"]) == names


SPREAD = (
    "mean_probabilities",
    "standard_deviation",
    "standard_error",
    "predictive_entropy",
    "expected_entropy",
    "mutual_information",
    "variation_ratio",
    "votes",
)


def test_sampling_tells_the_numbers_of_uncertainty(client: httpx.Client, toy: ToyNet) -> None:
    """JSON writes both with the digits that make the number, so equal text is equal bits."""
    sampling = {"samples": 20, "seed": 9, "dropout_rate": 0.25}
    names = (*SPREAD, "sampled_label", "samples", "label", "probabilities")
    answer = infer(client, body(toy, outputs=names, parameters=sampling))
    asked = sampling | {"inputs": toy.rows(3).tolist(), "return_samples": True}
    rows = client.post("/v1/models/toy/versions/1/uncertainty", json=asked).json()["predictions"]
    expected = {name: [row[name] for row in rows] for name in SPREAD}
    expected |= {"sampled_label": [row["label"] for row in rows], "samples": [row["sampled"] for row in rows]}
    expected |= {name: [row["deterministic"][name] for row in rows] for name in ("label", "probabilities")}
    assert tensors(answer) == expected
    assert answer["parameters"] == {"samples": 20, "seed": 9}


def test_a_regressions_numbers_too(client: httpx.Client, toy: ToyNet) -> None:
    names = ("mean", "epistemic_std", "aleatoric_std", "total_std", "standard_error")
    answer = infer(client, body(toy, outputs=(*names, "values")), "/v2/models/yield/infer")
    rows = client.post("/v1/models/yield/uncertainty", json={"inputs": toy.rows(3).tolist()}).json()["predictions"]
    expected = {name: [row[name] for row in rows] for name in names}
    assert tensors(answer) == expected | {"values": [row["deterministic"]["values"] for row in rows]}


def test_raw_bytes_are_the_numbers_of_json(client: httpx.Client, toy: ToyNet) -> None:
    names = (*SPREAD, "samples")
    asked = body(toy, outputs=names, parameters={"samples": 7, "seed": 1})
    as_json = infer(client, asked)
    asked["parameters"]["binary_data_output"] = True
    reply = client.post(INFER, json=asked)
    assert reply.headers["content-type"] == "application/octet-stream"
    end = int(reply.headers[LENGTH])
    start = end
    for output, expected in zip(json.loads(reply.content[:end])["outputs"], as_json["outputs"], strict=True):
        size = output["parameters"]["binary_data_size"]
        dtype = DTYPES[output["datatype"]]
        array = np.frombuffer(reply.content[start : start + size], dtype)
        np.testing.assert_array_equal(array, np.array(expected["data"], dtype), strict=True)
        assert output["shape"] == expected["shape"]
        start += size
    assert start == len(reply.content)


def test_some_outputs_as_bytes_and_some_as_json(client: httpx.Client, toy: ToyNet) -> None:
    asked = body(toy)
    asked["outputs"] = [{"name": "label", "parameters": {"binary_data": True}}, {"name": "probabilities"}]
    reply = client.post(INFER, json=asked)
    label, probabilities = json.loads(reply.content[: int(reply.headers[LENGTH])])["outputs"]
    assert label["parameters"]["binary_data_size"] == 15
    assert len(probabilities["data"]) == 9


def test_raw_bytes_in_give_the_same_answer(client: httpx.Client, toy: ToyNet) -> None:
    asked = body(toy)
    raw = toy.rows(3).tobytes()
    tensor = asked["inputs"][0]
    del tensor["data"]
    tensor["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps(asked).encode()
    for kind in ({}, {"content-type": "application/octet-stream"}, {"content-type": "application/json"}):
        reply = client.post(INFER, content=head + raw, headers={LENGTH: str(len(head)), **kind})
        assert reply.json() == infer(client, body(toy))


def test_adaptive_sampling(client: httpx.Client, toy: ToyNet) -> None:
    parameters = {"samples": 5000, "tolerance": 0.02}
    answer = infer(client, body(toy, outputs=("passes", "stopped", "standard_error"), parameters=parameters))
    shown = tensors(answer)
    assert shown["stopped"] == ["tolerance"] * 3
    assert answer["parameters"]["samples"] == max(shown["passes"]) < 5000
    assert max(map(max, shown["standard_error"])) <= 0.02


def test_a_random_seed_is_returned_and_repeats_the_answer(client: httpx.Client, toy: ToyNet) -> None:
    first = infer(client, body(toy, outputs=("samples",), parameters={"samples": 5, "seed": "random"}))
    again = infer(client, body(toy, outputs=("samples",), parameters=first["parameters"]))
    assert again == first


def test_one_pass_has_no_standard_error(client: httpx.Client, toy: ToyNet) -> None:
    answer = infer(client, body(toy, rows=1, outputs=("standard_error",), parameters={"samples": 1}))
    assert tensors(answer)["standard_error"] == [[None, None, None]]


def test_compressed_bodies(client: httpx.Client, toy: ToyNet) -> None:
    content = gzip.compress(json.dumps(body(toy)).encode())
    assert client.post(INFER, content=content, headers={"content-encoding": "gzip"}).json() == infer(client, body(toy))


def test_requests_have_ids_and_deadlines_as_elsewhere(client: httpx.Client, toy: ToyNet) -> None:
    asked = body(toy, rows=100, outputs=("votes",), parameters={"samples": 10_000})
    reply = client.post(INFER, json=asked, headers={"x-request-timeout": "0.05", "x-request-id": "mine"})
    assert "left until its deadline" in refused(reply, 504)
    assert reply.headers["x-request-id"] == "mine"


# refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": [{"name": "logits"}]}, "outputs.logits: the model has no such output; it has label, prob"),
        ({"outputs": [{"name": "label"}] * 2}, "outputs.label: is given twice"),
        ({"outputs": [{"name": "label", "parameters": {"classification": 2}}]}, "outputs.label.parameters.classif"),
        ({"parameters": {"sample": 5}}, "parameters.sample: there is no such parameter; expected samples, seed"),
        ({"parameters": {"samples": 5}}, "parameters.samples: requires an output of the sampling"),
        ({"parameters": {"sequence_id": 5}}, "parameters.sequence_id: there is no such parameter"),
    ],
)
def test_wrong_questions(changes: dict[str, Any], message: str, client: httpx.Client, toy: ToyNet) -> None:
    assert refused(client.post(INFER, json=body(toy) | changes), 400).startswith(message)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"samples": 0}, "samples: expected a whole number"),
        ({"samples": "many"}, "samples: expected a whole number"),
        ({"samples": 10_001}, "samples: expected at most 10000, found 10001"),
        ({"seed": -1}, "seed: expected a whole number"),
        ({"seed": "dice"}, "seed: expected a whole number"),
        ({"dropout_rate": 1}, "dropout_rate: expected a number < 1"),
        ({"tolerance": 0}, "samples.tolerance: expected a number > 0"),
        ({"confidence": 1}, "samples.confidence: expected a number < 1"),
    ],
)
def test_wrong_sampling(parameters: dict[str, Any], message: str, client: httpx.Client, toy: ToyNet) -> None:
    reply = client.post(INFER, json=body(toy, outputs=("votes",), parameters=parameters))
    assert refused(reply, 400).startswith(message)


def test_samples_of_rows_that_stop_apart_make_no_tensor(client: httpx.Client, toy: ToyNet) -> None:
    asked = body(toy, outputs=("samples",), parameters={"tolerance": 0.1})
    assert "rows may stop after different numbers of passes" in refused(client.post(INFER, json=asked), 400)
    one_row = body(toy, rows=1, outputs=("samples", "passes"), parameters={"tolerance": 0.1})
    samples, passes = infer(client, one_row)["outputs"]
    assert samples["shape"] == [1, *passes["data"], 3]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/nobody", 404),
        ("GET", "/v2/models/nobody/ready", 404),
        ("POST", "/v2/models/nobody/infer", 404),
        ("GET", "/v2/models/toy/versions/9", 404),
        ("GET", "/v2/models/toy/versions/one", 400),
        ("GET", "/v2/models/toy/config", 404),
        ("GET", "/v2/models/toy/stats", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", INFER, 405),
        ("POST", "/v2", 405),
        ("DELETE", "/v2/models/toy", 405),
        ("POST", "/v2/repository/models/nobody/load", 404),
        ("POST", "/v2/repository/models/nobody/unload", 404),
    ],
)
def test_wrong_paths(method: str, path: str, status: int, client: httpx.Client) -> None:
    assert refused(client.request(method, path), status)


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({"content-type": "text/csv"}, 415, "content-type: expected application/json or application/octet-stream"),
        ({"content-encoding": "br"}, 415, "content-encoding: expected one of gzip, deflate, identity; found br"),
        ({"content-encoding": "gzip"}, 400, "the body is not gzip"),
        ({LENGTH: "100000"}, 400, f"{LENGTH}: expected the bytes of JSON"),
        ({"x-request-timeout": "soon"}, 400, "x-request-timeout: expected a finite number of seconds"),
    ],
)
def test_wrong_headers(headers: dict[str, str], status: int, message: str, client: httpx.Client, toy: ToyNet) -> None:
    reply = client.post(INFER, content=json.dumps(body(toy)), headers=headers)
    assert refused(reply, status).startswith(message)


def test_too_long_a_body(serve: Serve, published: Any, toy: ToyNet) -> None:
    with serve(models=published, max_body_bytes=1000) as client:
        assert "at most 1000 bytes" in refused(client.post(INFER, content=b" " * 1001), 413)
        bomb = gzip.compress(bytes(10**6))[:1000]
        assert "at most 1000 bytes" in refused(
            client.post(INFER, content=bomb, headers={"content-encoding": "gzip"}), 413
        )


def test_a_model_cannot_be_sent_along(client: httpx.Client) -> None:
    for parameters in ({"config": "{}"}, {"file:1/model.onnx": "AAAA"}):
        reply = client.post("/v2/repository/models/toy/load", json={"parameters": parameters})
        assert "a model is loaded as it was published" in refused(reply, 400)
