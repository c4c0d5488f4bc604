"""The networks to serve, by name; `benchmarks.serving.models` makes them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

CLASSES = 10
ROWS = 64
PASSES = 100


class Subject(NamedTuple):
    """A multilayer perceptron with so many features, and units in its hidden layers."""

    name: str
    features: int
    hidden: tuple[int, ...]

    def __str__(self) -> str:
        """Return the widths as text."""
        return "-".join(map(str, (self.features, *self.hidden, CLASSES)))


SUBJECTS = {"small": Subject("small", 64, (256, 256)), "large": Subject("large", 784, (1024, 1024))}

Rows = list[list[float]]


class Prepared(NamedTuple):
    """A published subject, its rows, and the right answers."""

    subject: Subject
    models: Path
    """The folder that Dropserve serves."""
    graph: Path
    """The deterministic graph, which all contenders serve."""
    rows: Rows
    answers: dict[str, Rows]
    """Probabilities by kind: `predict`, `uncertainty`."""


def make(folder: Path) -> None:
    """Make all subjects, in a process of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "benchmarks.serving.models", str(folder)], check=True)  # noqa: S603 - our own


def read(folder: Path, name: str) -> Prepared:
    """Return what `make` wrote to the folder."""
    answers = json.loads((folder / name / "rows.json").read_text())
    models = folder / name / "models"
    return Prepared(SUBJECTS[name], models, models / "mlp" / "1" / "predict.onnx", answers.pop("rows"), answers)
