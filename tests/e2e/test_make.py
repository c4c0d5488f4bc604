"""What a newcomer does: clone, `make serve`, ask."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import wait_until

ROOT = Path(__file__).parents[2]
OFFLINE = {"PIP_NO_INDEX": "1"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OF_MAKE = ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL")
"""What a `make test` around this would hand on."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, and nothing else."""
    folder = tmp_path_factory.mktemp("clone") / "dropserve"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


def test_fresh_clone_serves_its_model_without_torch(clone: Path) -> None:
    with make_serve(clone) as client:
        row = {"inputs": [[0.0] * 64]}
        assert "digits" in client.get("/readyz").raise_for_status().json()["models"]
        assert len(client.post("/predict", json=row).raise_for_status().json()["predictions"]) == 1
        assert client.post("/uncertainty", json=row | {"samples": 10}).raise_for_status().json()["samples"] == 10
    assert not list(clone.glob(".venv/lib*/python*/site-packages/torch"))


def test_second_start_installs_nothing(clone: Path) -> None:
    with make_serve(clone), make_serve(clone, **OFFLINE) as client:
        client.get("/readyz").raise_for_status()


def test_help_lists_every_target_that_a_user_may_ask_for() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"serve", "train", "test", "lint", "bench"} <= set(re.findall(r"^  make (\w+)", shown, re.MULTILINE))


@contextmanager
def make_serve(folder: Path, **env: str) -> Iterator[httpx.Client]:
    """`make serve` on a free port, and a client of it once its models are loaded."""
    command = ["make", "serve", f"PYTHON={sys.executable}"]
    outer = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    env = outer | env | {"DROPSERVE_PORT": "0"}
    with subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, start_new_session=True) as process:
        try:
            with httpx.Client(base_url=_address(process), timeout=30) as client:
                wait_until(lambda: "being loaded" not in client.get("/readyz").text)
                yield client
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def _address(process: subprocess.Popen[bytes]) -> str:
    """Where the service says that it listens."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line.decode())
        if found := re.search(r"running on (\S+)", said[-1]):
            return found[1]
    raise AssertionError("".join(said))
