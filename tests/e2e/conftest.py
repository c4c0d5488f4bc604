"""A model that the command line trained, and the command itself, in this process where that is no part of the proof."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.cli import app

ROOT = Path(__file__).parents[2]
QUICK = ("--epochs", "5", "--hidden", "32", "--passes", "10", "--device", "cpu")


def run(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE`."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"COLUMNS": "200"})


def train(models: Path, *options: str) -> str:
    """Train a quick network on digits and return what the command prints."""
    done = CliRunner().invoke(app, ["train", "--models", str(models), *QUICK, *options], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with one of digits, trained by a process of its own. Not to be changed."""
    folder = tmp_path_factory.mktemp("models")
    done = run("training", "train", "--models", folder, *QUICK)
    assert done.returncode == 0, done.stderr
    assert f"Published {folder}/digits/1." in done.stdout
    return folder
