"""Golden answers: replayed by the model that gave them, and by no other."""

import io
from typing import Any

import numpy as np
import pytest

from service.engine.engine import Engine
from service.errors import InvalidModel
from service.loading import golden
from tests.toy import CLASSES, ToyNet

PASSES, SEED = 6, 3


@pytest.fixture(scope="module")
def engine(toy: ToyNet) -> Engine:
    return toy.engine()


@pytest.fixture(scope="module")
def content(engine: Engine, toy: ToyNet) -> bytes:
    return golden.record(engine, {"input": toy.rows(5)}, passes=PASSES, seed=SEED)


def changed(content: bytes, **changes: Any) -> bytes:
    """The golden answers with some arrays replaced, or, by None, left out."""
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file) | changes
    out = io.BytesIO()
    np.savez(out, **{name: array for name, array in arrays.items() if array is not None})
    return out.getvalue()


def test_the_same_model_answers_the_same(engine: Engine, content: bytes) -> None:
    assert golden.replay(engine, content) <= 1e-6


def test_the_inputs_become_the_examples(toy: ToyNet, content: bytes) -> None:
    engine = toy.engine()
    golden.replay(engine, content)
    np.testing.assert_array_equal(engine.examples["input"], toy.rows(5))


def test_a_publisher_may_state_how_far_answers_may_lie_apart(engine: Engine, toy: ToyNet) -> None:
    coarse = golden.record(engine, {"input": toy.rows(5)}, PASSES, SEED, tolerance=1e-2)
    with np.load(io.BytesIO(coarse)) as file:
        apart = file["predict"] + 5e-3
    assert golden.replay(engine, changed(coarse, predict=apart)) == pytest.approx(5e-3)
    with pytest.raises(InvalidModel, match=r"relative error 0\.005, at most 0\.0001 is allowed"):
        golden.replay(engine, changed(coarse, predict=apart, tolerance=None))  # as files of earlier publishers


def test_another_model_answers_otherwise(content: bytes) -> None:
    with pytest.raises(InvalidModel, match="answers differ from those at publication: relative error"):
        golden.replay(ToyNet(seed=1).engine(), content)


def test_a_model_of_another_dropout_rate_answers_otherwise(toy: ToyNet, content: bytes) -> None:
    sites = ({"name": "hidden", "kind": "dropout", "p": 0.4, "shape": (toy.hidden,)},)
    with pytest.raises(InvalidModel, match="sample: the model's answers differ"):
        golden.replay(toy.engine(sites=sites), content)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"predict": np.full((5, CLASSES), np.nan)}, "predict: the model's answers differ"),
        ({"sample": np.full((PASSES, 5, CLASSES), np.nan, np.float32)}, "sample: the model's answers differ"),
        ({"predict": np.zeros((4, CLASSES))}, r"predict: the answer is \(5, 3\), not \(4, 3\)"),
        ({"sample": np.zeros((PASSES, 5, CLASSES + 1))}, "sample: the answer is"),
        ({"predict": None}, "does not fit the model: .*predict"),
        ({"sample": None}, "does not fit the model: .*sample"),
        ({"seed": None}, "does not fit the model: .*seed"),
        ({"seed": np.uint64(SEED + 1)}, "sample: the model's answers differ"),
        ({"tolerance": 0.5}, r"a tolerance of at most 0\.1, found 0\.5"),
        ({"tolerance": np.nan}, "found nan"),
        ({"input.input": None}, "does not fit the model: inputs.input: is missing"),
        ({"input.input": np.zeros((5, 9))}, "expected 4 values, found 9"),
        ({"input.input": np.full((5, 4), np.nan)}, "expected a finite number"),
        ({"input.input": np.zeros((0, 4))}, "is empty"),
        ({"input.other": np.zeros((5, 4))}, r"inputs\.other: the model has no such input"),
    ],
)
def test_answers_that_do_not_fit(engine: Engine, content: bytes, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidModel, match=reason) as refusal:
        golden.replay(engine, changed(content, **changes))
    assert refusal.value.details == {"file": "golden.npz"}


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04nothing"])
def test_what_is_no_npz(engine: Engine, content: bytes) -> None:
    with pytest.raises(InvalidModel, match=r"golden\.npz: cannot be read: not an NPZ file"):
        golden.replay(engine, content)
