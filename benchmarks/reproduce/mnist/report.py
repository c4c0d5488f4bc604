"""Make a record of the results, and a table beside the published errors."""

from dataclasses import asdict

import torch
from rich.table import Table

from benchmarks.reproduce.mnist.protocol import Recipe
from benchmarks.reproduce.mnist.study import Curve, Turned
from benchmarks.reproduce.records import Record

COLUMNS = ("network", "epochs", "weight scaling", "mean of thinned networks", "aimed at", "paper")


def record(
    name: str, recipe: Recipe, rows: int, seed: int, error: float, curve: Curve, turned: Turned, seconds: float
) -> Record:
    """Return recipe, test errors in per cent, the curve over T and the figures by angle, for `rows` training rows."""
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


def table(records: list[Record]) -> Table:
    """Return a table with a line a network."""
    shown = Table(*COLUMNS, title="Test error, per cent")
    for one in records:
        recipe, curve = one["recipe"], one["curve"]
        thinned = f"{curve['mean'][-1]:.2f} (T = {curve['passes'][-1]})"
        published = "" if recipe["published"] is None else f"{recipe['published']:.2f}"
        cells = (f"{one['error']:.2f}", thinned, f"{recipe['target']:.2f}", published)
        shown.add_row(one["network"], str(recipe["epochs"]), *cells)
    return shown
