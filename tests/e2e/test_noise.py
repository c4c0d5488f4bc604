"""What docs/noise.md says is done: data made, models trained by its commands, served, and asked over both protocols."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from service.model.manifest import LearnedNoise, Manifest, Noise, read_manifest
from tests.service.processes import Service, service
from training.cli import app

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
QUIET, LOUD = [0.5, -3.0], [0.5, 3.0]
"""Rows with a noise of 0.1 and of 1.1."""


def blocks(language: str) -> list[str]:
    page = (ROOT / "docs" / "noise.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1, 2 and 3 of waves: noise learned, fixed, and dropout learned."""
    folder = tmp_path_factory.mktemp("noise")
    (data,) = blocks("python")
    subprocess.run([sys.executable, "-c", data], cwd=folder, check=True)
    for command in blocks("sh"):
        words = command.split()
        assert words[0] == ".venv/bin/dropserve"
        where = ["--models", "models", "--device", "cpu", "--passes", "20"]
        with contextlib.chdir(folder):
            done = CliRunner().invoke(app, [*words[1:], *where])
        assert done.exit_code == 0, done.output
    return folder / "models"


@pytest.fixture(scope="module")
def running(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("service"), "--models", str(models)) as running:
        yield running


def manifest(models: Path, version: int) -> Manifest:
    return read_manifest(models / "waves" / str(version))


def ask(running: Service, version: int, question: str, **body: Any) -> Any:
    path = f"/v1/models/waves/versions/{version}/{question}"
    reply = running.client.post(path, json={"inputs": [QUIET, LOUD], **body})
    assert reply.status_code == 200, reply.text
    return reply.json()["predictions"]


def test_a_noisy_row_is_told_from_a_quiet_one(models: Path, running: Service) -> None:
    assert isinstance(manifest(models, 1).noise, LearnedNoise)
    quiet, loud = ask(running, 1, "uncertainty", samples=100, coverage=0.9)
    assert quiet["aleatoric_std"][0] < 0.4
    assert loud["aleatoric_std"][0] == pytest.approx(1.1, rel=0.3)
    for row in (quiet, loud):
        total = np.hypot(row["aleatoric_std"][0], row["epistemic_std"][0])
        assert row["total_std"][0] == pytest.approx(total, rel=1e-5)
    [narrow], [wide] = (np.diff(row["deterministic"]["interval"]) for row in (quiet, loud))
    assert narrow < wide / 2


def test_the_same_over_both_protocols(running: Service) -> None:
    [_, loud] = ask(running, 1, "predict")
    tensor = {"name": "input", "shape": [2, 2], "datatype": "FP32", "data": [*QUIET, *LOUD]}
    reply = running.client.post("/v2/models/waves/versions/1/infer", json={"inputs": [tensor]}).json()
    found = {output["name"]: output["data"] for output in reply["outputs"]}
    assert (found["values"][1], found["noise_std"][1]) == pytest.approx((loud["values"][0], loud["noise_std"][0]))


def test_fixed_noise_is_that_of_tau(models: Path, running: Service) -> None:
    assert manifest(models, 2).noise == Noise(std=0.5)
    assert [row["aleatoric_std"] for row in ask(running, 2, "uncertainty", samples=10)] == [[0.5], [0.5]]
    assert list(ask(running, 2, "predict")[0]) == ["values"]


def test_learned_dropout_is_served_as_any_other(models: Path, running: Service) -> None:
    said = manifest(models, 3)
    assert said.training["dropout"] == "learned"
    assert all(0 < site.p < 0.1 for site in said.sites)  # 2000 rows want less of it than it began with
    assert isinstance(said.noise, LearnedNoise)
    quiet, loud = ask(running, 3, "uncertainty", samples=50)
    assert quiet["epistemic_std"][0] > 0
    assert quiet["aleatoric_std"][0] < loud["aleatoric_std"][0]
