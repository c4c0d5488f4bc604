"""The experiment on which rows to label next, small, by the command line and in parts."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.reproduce.cli import app
from benchmarks.reproduce.labels.experiment import SCORES, Plan, check_plan, divide, fit
from benchmarks.reproduce.labels.report import band, table
from training.data import load_data
from training.data.split import equal_rows
from training.errors import TrainingError


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("results") / "labels.json"
    small = ["--seeds", "2", "--first", "20", "--batch", "20", "--last", "60", "--passes", "10"]
    done = CliRunner().invoke(app, ["labels", *small, "--results", str(file)])
    assert done.exit_code == 0, done.output
    return file


def test_every_way_and_seed_is_there(results: Path) -> None:
    records = json.loads(results.read_text())
    assert {(one["way"], one["seed"]) for one in records} == {(way, seed) for way in SCORES for seed in (0, 1)}
    for one in records:
        assert one["labels"] == [20, 40, 60]
        assert one["data_sha256"] == load_data("digits").sha256
        assert 0.3 < one["accuracy"][0] < one["accuracy"][-1] <= 1
    if importlib.util.find_spec("matplotlib"):
        assert results.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_all_ways_begin_alike_and_then_part(results: Path) -> None:
    records = json.loads(results.read_text())
    for seed in (0, 1):
        accuracies = [one["accuracy"] for one in records if one["seed"] == seed]
        assert len({first for first, *_ in accuracies}) == 1
        assert len({tuple(rest) for _, *rest in accuracies}) == 3


def test_the_band_is_mean_and_deviation() -> None:
    mean, deviation = band([{"accuracy": [0.5, 0.8]}, {"accuracy": [0.7, 0.8]}])
    assert np.allclose(mean, [0.6, 0.8])
    assert np.allclose(deviation, [np.sqrt(0.02), 0])


def test_the_gain_is_against_chance_of_the_same_seed() -> None:
    ways = {"chance": [[0.5, 0.5], [0.7, 0.7]], "entropy": [[0.6, 0.6], [0.7, 0.9]]}
    records = [
        {"way": way, "seed": seed, "labels": [20, 40], "accuracy": accuracy}
        for way, all_of in ways.items()
        for seed, accuracy in enumerate(all_of)
    ]
    cells = list(table(records).columns[-1].cells)
    assert cells == ["+0.1000 ± 0.0000", ""]


def test_no_row_held_out_is_equal_to_one_of_the_pool() -> None:
    data = load_data("digits")
    rows = divide(data, seed=3)
    assert len(rows.pool.targets) + len(rows.test.targets) == len(data.targets)
    groups = equal_rows(np.concatenate([rows.pool.inputs, rows.test.inputs]))
    assert not set(groups[: len(rows.pool.targets)]) & set(groups[len(rows.pool.targets) :])


def test_the_same_seed_gives_the_same_network() -> None:
    data = load_data("digits")
    pool = divide(data, seed=0).pool
    one, other = (fit(data, pool, np.arange(30), seed=1) for _ in range(2))
    assert all((a == b).all() for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_plan_beyond_the_data_is_refused() -> None:
    with pytest.raises(TrainingError, match="last: expected from 20 to"):
        check_plan(Plan(last=5000), load_data("digits"))
