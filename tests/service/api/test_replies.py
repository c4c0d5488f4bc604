"""Replies: what the schemas describe, and the very numbers of the engine."""

import json
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from service.api import schemas
from service.api.replies import encode, encode_prediction, encode_uncertainty
from service.engine.engine import Engine
from service.engine.sampling import Sampling
from service.engine.uncertainty import ClassUncertainty, RegressionUncertainty
from tests.toy import ToyNet

SEED = 3


@pytest.fixture(params=["classification", "regression"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "classification":
        return ToyNet().engine()
    return ToyNet(outputs=2).engine(task="regression", labels=(), noise={"std": 0.3})


def validated(kind: type[BaseModel], reply: bytes) -> Any:
    """The reply's JSON, after it has been held against its schema: exact types, nothing extra."""
    kind.model_validate_json(reply, strict=True)
    return json.loads(reply)


def uncertainty(engine: Engine, rows: int, passes: int) -> bytes:
    return encode_uncertainty(
        engine.manifest, Sampling(passes, SEED), engine.sample({"input": ToyNet().rows(rows)}, Sampling(passes, SEED))
    )


@pytest.mark.parametrize("rows", [1, 3])
def test_predictions_are_as_described(engine: Engine, rows: int) -> None:
    reply = encode_prediction(engine.manifest, engine.predict({"input": ToyNet().rows(rows)}))
    assert len(validated(schemas.PredictReply, reply)["predictions"]) == rows


@pytest.mark.parametrize("passes", [1, 2, 50])
@pytest.mark.parametrize("rows", [1, 3])
def test_uncertainties_are_as_described(engine: Engine, rows: int, passes: int) -> None:
    reply = validated(schemas.UncertaintyReply, uncertainty(engine, rows, passes))
    assert len(reply["predictions"]) == rows
    assert (reply["model"], reply["version"], reply["samples"], reply["seed"]) == ("toy", 1, passes, SEED)


def test_predictions_of_classes_are_the_engines(toy: ToyNet) -> None:
    engine = toy.engine()
    prediction = engine.predict({"input": toy.rows(4)})
    reply = json.loads(encode_prediction(engine.manifest, prediction))
    assert reply["labels"] == ["a", "b", "c"]
    for row, probabilities in zip(reply["predictions"], prediction.values, strict=True):
        np.testing.assert_allclose(row["probabilities"], probabilities, atol=1e-7)
        assert row["label"] == "abc"[probabilities.argmax()]
        assert row["probability"] == pytest.approx(probabilities.max(), abs=1e-7)


def test_spreads_of_classes_are_the_engines(toy: ToyNet) -> None:
    engine = toy.engine()
    sampled = engine.sample({"input": toy.rows(4)}, Sampling(50, SEED))
    found = sampled.uncertainty
    assert isinstance(found, ClassUncertainty)
    reply = json.loads(encode_uncertainty(engine.manifest, Sampling(50, SEED), sampled))
    for i, row in enumerate(reply["predictions"]):
        np.testing.assert_allclose(row["mean_probabilities"], found.mean[i], atol=1e-7)
        np.testing.assert_allclose(row["standard_deviation"], found.std[i], atol=1e-7)
        np.testing.assert_allclose(row["standard_error"], found.standard_error[i], atol=1e-7)
        for name in ("predictive_entropy", "expected_entropy", "mutual_information", "variation_ratio"):
            assert row[name] == pytest.approx(getattr(found, name)[i], abs=1e-7)
        assert row["votes"] == found.votes[i].tolist()
        assert row["label"] == "abc"[found.mean[i].argmax()]
        np.testing.assert_allclose(row["deterministic"]["probabilities"], sampled.deterministic.values[i], atol=1e-7)


def test_spreads_of_a_regression_are_the_engines() -> None:
    net = ToyNet(outputs=2)
    engine = net.engine(task="regression", labels=(), noise={"std": 0.3})
    sampled = engine.sample({"input": net.rows(4)}, Sampling(50, SEED))
    found = sampled.uncertainty
    assert isinstance(found, RegressionUncertainty)
    reply = json.loads(encode_uncertainty(engine.manifest, Sampling(50, SEED), sampled))
    assert "labels" not in reply
    for i, row in enumerate(reply["predictions"]):
        for name in ("mean", "epistemic_std", "aleatoric_std", "total_std", "standard_error"):
            np.testing.assert_allclose(row[name], getattr(found, name)[i], rtol=1e-6)
        np.testing.assert_allclose(row["deterministic"]["values"], sampled.deterministic.values[i], rtol=1e-6)


def test_the_error_of_a_single_sample_is_null(engine: Engine) -> None:
    [row] = json.loads(uncertainty(engine, 1, 1))["predictions"]
    assert set(row["standard_error"]) == {None}


def test_labels_may_be_any_text(toy: ToyNet) -> None:
    engine = toy.engine(labels=('"', "ß\n", "猫"))
    reply = json.loads(encode_prediction(engine.manifest, engine.predict({"input": toy.rows(20)})))
    assert reply["labels"] == ['"', "ß\n", "猫"]
    assert {row["label"] for row in reply["predictions"]} <= set(reply["labels"])


def test_numbers_that_json_has_not_become_null() -> None:
    assert encode(np.array([np.nan, 1.0])) == b"[null,1.0]"


def test_vectors_are_read_back_exactly(toy: ToyNet) -> None:
    engine = toy.engine()
    prediction = engine.predict({"input": toy.rows(20)})
    reply = json.loads(encode_prediction(engine.manifest, prediction))
    read_back = np.array([row["probabilities"] for row in reply["predictions"]], dtype=np.float32)
    np.testing.assert_array_equal(read_back, prediction.values.astype(np.float32))
