"""Results → a record in JSON, and a table beside the published errors."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from training.reproduce.mnist.protocol import Recipe
from training.reproduce.mnist.study import Curve, Turned

Record = dict[str, Any]
"""One network: its recipe, its test errors in per cent, the curve over T and the figures by angle."""
COLUMNS = ("network", "epochs", "weight scaling", "mean of thinned networks", "aimed at", "paper")


def record(
    name: str, recipe: Recipe, rows: int, seed: int, error: float, curve: Curve, turned: Turned, seconds: float
) -> Record:
    """What was run and what came of it, fit for JSON; `rows` were trained on."""
    return {
        "network": name,
        "recipe": asdict(recipe),
        "rows": rows,
        "seed": seed,
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
        "error": error,
        "curve": asdict(curve),
        "turned": asdict(turned),
    }


def save(path: Path, new: Record) -> None:
    """Put a record in the place of the one of the same network."""
    records = {old["network"]: old for old in (read(path) if path.exists() else [])} | {new["network"]: new}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(records.values()), indent=1) + "\n")


def read(path: Path) -> list[Record]:
    """The records of a file that `save` wrote."""
    records: list[Record] = json.loads(path.read_text())
    return records


def table(records: list[Record]) -> Table:
    """A line a network."""
    shown = Table(*COLUMNS, title="Test error, per cent")
    for one in records:
        recipe, curve = one["recipe"], one["curve"]
        thinned = f"{curve['mean'][-1]:.2f} (T = {curve['passes'][-1]})"
        published = "" if recipe["published"] is None else f"{recipe['published']:.2f}"
        cells = (f"{one['error']:.2f}", thinned, f"{recipe['target']:.2f}", published)
        shown.add_row(one["network"], str(recipe["epochs"]), *cells)
    return shown
