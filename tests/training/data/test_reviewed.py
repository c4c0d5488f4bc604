"""Labelled rows of the prediction log in training: from real stores, against real data."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.review.opening import open_store
from service.review.rows import Label, Row
from training.data import Choices, Dataset, Split, load_data, split_data
from training.data.reviewed import Reviewed, with_reviewed
from training.errors import TrainingError

TABLE = "age,city,price\n" + "".join(f"{i}.5,{'Oslo' if i % 3 else 'Rome'},{i * 2.0}\n" for i in range(60))


def keep(where: Path, *said: tuple[Any, Any], model: str = "digits") -> list[Row]:
    """Inputs and labels into a store, each as a row of its own; a label of None is none."""
    store = open_store(where)
    store.prepare()
    rows = [a_row(f"{model}-{number}", model, inputs) for number, (inputs, _) in enumerate(said)]
    store.write(rows)
    for row, (_, label) in zip(rows, said, strict=True):
        if label is not None:
            store.add_label(Label(row.id, json.dumps(label), None, None, time.time()))
    return rows


def a_row(name: str, model: str, inputs: Any) -> Row:
    sent = None if inputs is None else json.dumps(inputs)
    return Row(name, time.time(), "r", "/predict", model, 1, 0, sent, "{}", 0, None, None, None, None)


def add(where: Path, data: Dataset, model: str = "digits") -> tuple[Split, Split, Reviewed]:
    split = split_data(data, 0.1, 0.2, 0.2, seed=0)
    return split, *with_reviewed(str(where), model, data, split)


def test_only_the_training_part_grows_and_each_row_counts_once(tmp_path: Path, digits: Dataset) -> None:
    first, second = [1.5] * 64, [2.0] * 64
    rows = keep(tmp_path, (first, "3"), (second, "5"), ([3.0] * 64, None))
    open_store(tmp_path).add_label(Label(rows[0].id, '"4"', "bob", None, time.time()))
    keep(tmp_path, ([9.0] * 64, "1"), model="other")
    before, after, reviewed = add(tmp_path, digits)
    assert after.train.inputs[len(before.train.inputs) :].tolist() == [first, second]
    assert after.train.targets[len(before.train.targets) :].tolist() == [4, 5]
    for part in ("validation", "calibration", "test"):
        assert getattr(after, part) is getattr(before, part)
    facts = reviewed.facts(digits)
    assert (facts["reviewed_rows"], facts["reviewed_left_out"]) == (2, 0)
    assert reviewed.joined(digits).targets[-2:].tolist() == [4, 5]
    assert facts["reviewed_sha256"] != digits.sha256


def test_rows_that_are_held_out_are_not_learned(tmp_path: Path, digits: Dataset) -> None:
    split = split_data(digits, 0.1, 0.2, 0.2, seed=0)
    held = [(getattr(split, part).inputs[3].tolist(), "1") for part in ("validation", "calibration", "test")]
    keep(tmp_path, *held, ([1.0] * 64, "2"))
    before, after, reviewed = add(tmp_path, digits)
    assert len(after.train.targets) == len(before.train.targets) + 1
    assert reviewed.left_out == 3
    assert "3 left out that equal a held-out row" in reviewed.summary()


def test_rows_without_inputs_are_told(tmp_path: Path, digits: Dataset) -> None:
    keep(tmp_path, (None, "1"), ([1.0] * 64, "2"))
    _, _, reviewed = add(tmp_path, digits)
    assert (len(reviewed.part.targets), reviewed.without_inputs) == (1, 1)
    assert "1 left out whose inputs were not logged" in reviewed.summary()


def test_a_log_in_which_nothing_is_labelled_adds_nothing(tmp_path: Path, digits: Dataset) -> None:
    keep(tmp_path, ([1.0] * 64, None))
    before, after, reviewed = add(tmp_path, digits)
    assert np.array_equal(after.train.inputs, before.train.inputs)
    assert len(reviewed.part.targets) == 0


def test_a_table_of_categories_and_a_regression(tmp_path: Path) -> None:
    (tmp_path / "homes.csv").write_text(TABLE)
    data = load_data(str(tmp_path / "homes.csv"), Choices(target="price", task="regression"))
    assert data.features == ("age", "city")
    keep(tmp_path / "log", ([99.25, "Rome"], [7.5]), model="homes")
    _, after, _ = add(tmp_path / "log", data, "homes")
    assert after.train.inputs[-1].tolist() == [99.25, float(data.categories["city"].index("Rome"))]
    assert after.train.targets[-1].tolist() == [7.5]


@pytest.mark.parametrize(
    ("inputs", "label", "message"),
    [
        ([1.0] * 63, "1", "row digits-0 does not fit digits: inputs"),
        (["a"] * 64, "1", "row digits-0 does not fit digits"),
        ({"x": 1}, "1", "expected a list of numbers"),
        ([1.0] * 64, "ten", "row digits-0: expected one of 0, 1, .* as its label; found 'ten'"),
        ([1.0] * 64, [1.0], "expected one of"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, digits: Dataset, inputs: Any, label: Any, message: str) -> None:
    keep(tmp_path, (inputs, label))
    with pytest.raises(TrainingError, match=message):
        add(tmp_path, digits)


@pytest.mark.parametrize("where", ["nowhere", "mysql://x/y", "sqlite:///nowhere/x.db"])
def test_a_store_that_cannot_be_read_is_told(tmp_path: Path, digits: Dataset, where: str) -> None:
    with pytest.raises(TrainingError, match="with_reviewed: "):
        add(Path(where) if "://" not in where else where, digits)  # type: ignore[arg-type]
