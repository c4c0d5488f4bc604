"""Accept or refer, and what cannot be ruled out: by the thresholds of the manifest, through the API."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.api import schemas
from service.config import Settings
from service.http.app import create_app
from tests.conftest import running_server
from tests.toy import ToyNet

ABSTENTION = (
    {"error_rate": 0.2, "threshold": 2.0, "coverage": 1.0},  # decides nothing
    {"error_rate": 0.05, "threshold": 1.0, "coverage": 0.9},
    {"error_rate": 0.01, "threshold": 0.8, "coverage": 0.5},
)
CONFORMAL = ({"coverage": 0.8, "quantile": 0.5}, {"coverage": 0.95, "quantile": 0.75})


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    models: Path = tmp_path_factory.mktemp("models")
    ToyNet().publish(models, abstention=ABSTENTION, conformal=CONFORMAL)
    ToyNet(outputs=2).publish(
        models, name="yield", task="regression", labels=(), conformal=({"coverage": 0.9, "quantile": 2.5},)
    )
    with running_server(create_app(Settings(models=models, default_model="toy"))) as client:
        yield client


@pytest.fixture(scope="module")
def inputs(toy: ToyNet) -> list[list[float]]:
    rows: list[list[float]] = toy.rows(40).tolist()
    return rows


def ask(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    schema = schemas.PredictReply if path.endswith("predict") else schemas.UncertaintyReply
    schema.model_validate_json(response.content, strict=True)
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize(("asked", "threshold"), [({}, 1.0), ({"error_rate": 0.05}, 1.0), ({"error_rate": 0.01}, 0.8)])
def test_rows_are_accepted_up_to_the_threshold(
    client: httpx.Client, inputs: list[list[float]], asked: dict[str, float], threshold: float
) -> None:
    answer = ask(client, "/uncertainty", inputs=inputs, **asked)
    decisions = {row["decision"] for row in answer["predictions"]}
    assert decisions == {"accept", "refer"}  # else the threshold would not be tested
    assert answer["decided"]["threshold"] == threshold
    assert answer["decided"]["error_rate"] == asked.get("error_rate", 0.05)
    for row in answer["predictions"]:
        assert (row["decision"] == "accept") == (row["predictive_entropy"] <= threshold)


@pytest.mark.parametrize("path", ["/predict", "/uncertainty"])
@pytest.mark.parametrize(("coverage", "quantile"), [(0.8, 0.5), (0.95, 0.75)])
def test_prediction_sets_hold_the_classes_that_cannot_be_ruled_out(
    client: httpx.Client, inputs: list[list[float]], path: str, coverage: float, quantile: float
) -> None:
    answer = ask(client, path, inputs=inputs, coverage=coverage)
    rows = [row.get("deterministic", row) for row in answer["predictions"]]
    assert len({len(row["prediction_set"]) for row in rows}) > 1
    for row in rows:
        by_label = dict(zip(answer["labels"], row["probabilities"], strict=True))
        assert row["prediction_set"] == [label for label, p in by_label.items() if 1 - p <= quantile]


def test_a_regressions_interval_is_the_answer_and_the_quantile_around_it(
    client: httpx.Client, inputs: list[list[float]]
) -> None:
    answer = ask(client, "/v1/models/yield/predict", inputs=inputs, coverage=0.9)
    for row in answer["predictions"]:
        expected = [[value - 2.5, value + 2.5] for value in row["values"]]
        np.testing.assert_allclose(row["interval"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("path", "asked", "field", "expected"),
    [
        ("/uncertainty", {"error_rate": 0.02}, "error_rate", [0.2, 0.05, 0.01]),
        ("/uncertainty", {"coverage": 0.9}, "coverage", [0.8, 0.95]),
        ("/predict", {"coverage": 0.9}, "coverage", [0.8, 0.95]),
        ("/v1/models/yield/predict", {"coverage": 0.8}, "coverage", [0.9]),
        ("/v1/models/yield/uncertainty", {"error_rate": 0.05}, "error_rate", []),
    ],
)
def test_a_threshold_that_the_model_has_not_is_refused(
    client: httpx.Client,
    inputs: list[list[float]],
    path: str,
    asked: dict[str, float],
    field: str,
    expected: list[float],
) -> None:
    response = client.post(path, json={"inputs": inputs, **asked})
    assert response.status_code == 422
    assert response.json()["error"]["details"] == {"field": field, "expected": expected}


def test_no_decision_and_no_set_is_made_up(client: httpx.Client, inputs: list[list[float]]) -> None:
    answer = ask(client, "/v1/models/yield/uncertainty", inputs=inputs)
    assert "decided" not in answer
    assert not {"decision", "prediction_set", "interval"} & set(answer["predictions"][0])
    assert "prediction_set" not in ask(client, "/predict", inputs=inputs)["predictions"][0]


# more of the numbers


def test_samples_and_quantiles_are_returned_on_request(client: httpx.Client, inputs: list[list[float]]) -> None:
    answer = ask(client, "/uncertainty", inputs=inputs[:3], samples=50, return_samples=True, quantiles=[0.05, 0.5, 1])
    assert answer["quantiles"] == [0.05, 0.5, 1]
    for row in answer["predictions"]:
        sampled = np.array(row["sampled"])
        assert sampled.shape == (50, 3)
        np.testing.assert_allclose(sampled.mean(axis=0), row["mean_probabilities"], atol=1e-6)
        np.testing.assert_allclose(np.quantile(sampled, [0.05, 0.5, 1], axis=0), row["quantiles"], atol=1e-6)


def test_adaptive_sampling_tells_how_many_and_why(client: httpx.Client, inputs: list[list[float]]) -> None:
    body = {"inputs": inputs, "samples": {"max": 200, "tolerance": 0.03}}
    answer = ask(client, "/uncertainty", **body)
    taken = [row["samples"] for row in answer["predictions"]]
    assert answer["samples"] == max(taken) <= 200
    assert len(set(taken)) > 1
    for row in answer["predictions"]:
        assert row["stopped"] in ("tolerance", "max")
        fixed = ask(client, "/uncertainty", inputs=[inputs[answer["predictions"].index(row)]], samples=row["samples"])
        assert fixed["predictions"][0]["mean_probabilities"] == row["mean_probabilities"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"samples": {"max": 20}}, "samples"),
        ({"samples": {"tolerance": 0.1}}, "samples.max"),
        ({"samples": {"max": 20, "tolerance": 0}}, "samples.tolerance"),
        ({"samples": {"max": 20, "confidence": 1}}, "samples.confidence"),
        ({"samples": {"max": 10**6, "confidence": 0.9}}, "samples"),
        ({"dropout_rate": 1}, "dropout_rate"),
        ({"dropout_rate": -0.1}, "dropout_rate"),
        ({"quantiles": [1.5]}, "quantiles[0]"),
        ({"ablate": [{"site": "nowhere", "units": [1]}]}, "ablate[0].site"),
        ({"ablate": [{"site": 1, "units": [1]}]}, "ablate[0].site"),
        ({"ablate": [{"site": -1, "units": [1]}]}, "ablate[0].site"),
        ({"ablate": [{"site": 0, "units": [32]}]}, "ablate[0].units"),
        ({"ablate": [{"site": 0}]}, "ablate[0]"),
        ({"ablate": [{"site": 0, "units": [1], "fraction": 0.5}]}, "ablate[0]"),
        ({"ablate": [{"site": 0, "fraction": 1.0}]}, "ablate[0].fraction"),
        ({"ablate": [{"site": 0, "units": [1]}, {"site": 0, "units": [2]}]}, "ablate"),
        ({"samples": 10_000, "return_samples": True}, "return_samples"),
        ({"quantiles": [0.5] * 101}, "quantiles"),
        ({"error_rate": 0.05, "dropout_rate": 0.2}, "error_rate"),
        ({"error_rate": 0.05, "ablate": [{"site": 0, "units": [1]}]}, "error_rate"),
        ({"coverage": 0.8, "ablate": [{"site": 0, "units": [1]}]}, "coverage"),
    ],
)
def test_invalid_options_are_refused_by_field(
    client: httpx.Client, inputs: list[list[float]], asked: dict[str, Any], field: str
) -> None:
    response = client.post("/uncertainty", json={"inputs": inputs, **asked})
    assert response.status_code == 422, response.text
    assert response.json()["error"]["details"]["field"] == field


def test_a_regression_has_no_leading_class(client: httpx.Client, inputs: list[list[float]]) -> None:
    body = {"inputs": inputs, "samples": {"max": 50, "confidence": 0.9}}
    response = client.post("/v1/models/yield/uncertainty", json=body)
    assert response.json()["error"]["details"] == {"field": "samples.confidence"}


def test_ablation_by_name_and_by_number_are_the_same(client: httpx.Client, inputs: list[list[float]]) -> None:
    by_name, by_number = (
        ask(client, "/uncertainty", inputs=inputs, ablate=[{"site": site, "units": [0, 5]}]) for site in ("hidden", 0)
    )
    assert by_name == by_number
    assert by_name != ask(client, "/uncertainty", inputs=inputs)
