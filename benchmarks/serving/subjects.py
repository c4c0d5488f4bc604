"""The networks to serve, by name; `benchmarks.serving.models` makes them."""

import json
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.serving.commands import run

CLASSES = 10
ROWS = 64
PASSES = 100
PRODUCTS = (
    f"matrix products of a row's {PASSES} samples: the first layer once a row, each later layer as one product over "
    "all rows and samples, by onnxruntime with one thread"
)
"""The bound of the time of sampling, which `benchmarks.serving.products` measures."""


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
    products: Path
    """The folder of the graphs that `benchmarks.serving.products` times."""


def make(folder: Path, root: Path) -> None:
    """Make all subjects with the code of this tree, in a process of its own; raise NotRun if it fails."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.serving.models", str(folder.absolute())]
    run(f"the models of {root.name}", *command, folder=root, variables={"PYTHONPATH": str(root.absolute())})


def read(folder: Path, name: str) -> Prepared:
    """Return what `make` wrote to the folder."""
    answers = json.loads((folder / name / "rows.json").read_text())
    models, products = folder / name / "models", folder / name / "products"
    graph = models / "mlp" / "1" / "predict.onnx"
    return Prepared(SUBJECTS[name], models, graph, answers.pop("rows"), answers, products)
