"""The whole way, as people go it: train, check, serve, ask, train again, stop."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.model.manifest import read_manifest
from tests.conftest import wait_until
from tests.e2e.conftest import run, train
from tests.service.processes import Service, service
from training.data import load_data


@pytest.fixture(scope="module")
def models(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One trained model, beside which others may come."""
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("journey"), dirs_exist_ok=True))


@pytest.fixture(scope="module")
def running(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("service"), "--models", str(models)) as running:
        yield running


def ask(running: Service, path: str, **body: Any) -> Any:
    rows = load_data("digits").inputs[:3].tolist()
    answer = running.client.post(path, json={"inputs": rows, **body})
    assert answer.status_code == 200, answer.text
    return answer


def test_the_model_is_checked(models: Path) -> None:
    done = run("service", "check", models / "digits" / "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("can be served.")


def test_a_damaged_model_is_refused(models: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "digits" / "1"
    damaged.mkdir(parents=True)
    for file in (models / "digits" / "1").iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "sample.onnx").write_bytes((damaged / "predict.onnx").read_bytes())
    done = run("service", "check", damaged)
    assert done.returncode == 1
    assert "sample.onnx: is damaged" in done.stderr


def test_it_answers(running: Service) -> None:
    predicted = ask(running, "/predict").json()
    assert (predicted["model"], predicted["version"]) == ("digits", 1)
    assert [len(row["probabilities"]) for row in predicted["predictions"]] == [10, 10, 10]
    uncertain = ask(running, "/uncertainty", samples=20, seed=7).json()
    assert (uncertain["samples"], uncertain["seed"]) == (20, 7)
    for row, alone in zip(uncertain["predictions"], predicted["predictions"], strict=True):
        assert row["mutual_information"] > 0
        assert row["deterministic"] == alone
        assert sum(row["votes"]) == 20


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(running: Service) -> None:
    once, again, other = (ask(running, "/uncertainty", samples=20, seed=seed).content for seed in (7, 7, 8))
    assert once == again
    assert once != other


def test_a_second_version_is_served_while_it_runs_and_the_same_seed_gives_the_same_graphs(
    models: Path, running: Service
) -> None:
    assert "A service that watches" in train(models)
    wait_until(lambda: ask(running, "/predict").json()["version"] == 2)
    once, again = (read_manifest(models / "digits" / version).files for version in ("1", "2"))
    assert (once["predict.onnx"], once["sample.onnx"]) == (again["predict.onnx"], again["sample.onnx"])


def test_another_seed_gives_other_graphs(models: Path, tmp_path: Path) -> None:
    train(tmp_path, "--seed", "1")
    one, other = (read_manifest(folder / "digits" / "1").files for folder in (models, tmp_path))
    assert one["predict.onnx"] != other["predict.onnx"]


def test_it_stops_when_it_is_told(models: Path, tmp_path: Path) -> None:
    with service(tmp_path, "--models", str(models)) as running:
        ask(running, "/predict")
        assert running.stop() == 0
