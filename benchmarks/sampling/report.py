"""Report cells as tables, goals and JSON."""

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import conditions
from benchmarks.sampling.cells import Cell
from benchmarks.sampling.contenders import LAYER_PRODUCTS, ONE_PASS, Contender


class Goal(NamedTuple):
    """The bound of a ratio in every cell of at least so many rows."""

    ratio: str
    bound: float
    holds: Callable[[float, float], bool]
    rows: int = 1

    def __str__(self) -> str:
        """Return ratio and bound as text."""
        sign = "≥" if self.holds is operator.ge else "≤"
        return f"{self.ratio} {sign} {self.bound:g}" + (f" from {self.rows} rows on" if self.rows > 1 else "")


GOALS = (
    Goal("best peer / ours", 3, operator.ge),
    Goal("torch loop / ours", 20, operator.ge),
    Goal("best peer / ours, new seed", 3, operator.ge),
    Goal("torch loop / ours, new seed", 20, operator.ge),
    Goal("ours / layer products", 1.3, operator.le, rows=32),
    Goal("ours / large product", 1.3, operator.le, rows=32),
)


def print_tables(cells: Sequence[Cell], console: Console) -> None:
    """Print all times in units of one deterministic pass, the ratios, and the goals."""
    console.print(_units(cells), _milliseconds(cells), _ratios(cells), _goals(cells), sep="\n\n")
    reasons = {f"{contender.label}: {reason}" for cell in cells for contender, reason in cell.absent.items()}
    for reason in sorted(reasons):
        console.print(f"Absent: {reason}")


def _table(title: str, others: Sequence[str]) -> Table:
    table = Table("model", "rows", "threads", *others, title=title, box=box.MARKDOWN)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _sampling(cells: Sequence[Cell]) -> list[Contender]:
    return list(dict.fromkeys(contender for cell in cells for contender in cell.sampling))


def _units(cells: Sequence[Cell]) -> Table:
    everyone = _sampling(cells)
    table = _table("in units of one deterministic pass", [contender.label for contender in everyone])
    for cell in cells:
        table.add_row(*_head(cell), *(_number(cell, one, 1 / cell.seconds(ONE_PASS)) for one in everyone))
    return table


def _milliseconds(cells: Sequence[Cell]) -> Table:
    everyone = [ONE_PASS, *_sampling(cells), LAYER_PRODUCTS]
    table = _table("milliseconds", [*(contender.label for contender in everyone), "large product"])
    for cell in cells:
        large = f"{1e3 * cell.large_product_seconds:.3g}"
        table.add_row(*_head(cell), *(_number(cell, one, 1e3) for one in everyone), large)
    return table


def _ratios(cells: Sequence[Cell]) -> Table:
    table = _table("ratios", ["best peer", *(goal.ratio for goal in GOALS)])
    for cell in cells:
        best = cell.best_peer.label if cell.best_peer else ""
        figures = (f"{cell.ratios[goal.ratio]:.2f}" if goal.ratio in cell.ratios else "" for goal in GOALS)
        table.add_row(*_head(cell), best, *figures)
    return table


def _goals(cells: Sequence[Cell]) -> Table:
    table = Table("goal", "worst", "where", "met in", title="goals", box=box.MARKDOWN)
    for goal in judge(cells):
        met = f"{goal['met']} of {goal['cells']} cells"
        table.add_row(goal["goal"], f"{goal['worst']:.2f}", goal["where"], met)
    return table


def judge(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return each goal with its worst cell, and the number of cells that meet it."""
    judged = []
    for goal in GOALS:
        found = {str(c): c.ratios[goal.ratio] for c in cells if c.rows >= goal.rows and goal.ratio in c.ratios}
        if found:
            where, worst = (min if goal.holds is operator.ge else max)(found.items(), key=operator.itemgetter(1))
            met = sum(goal.holds(ratio, goal.bound) for ratio in found.values())
            judged.append({"goal": str(goal), "worst": worst, "where": where, "met": met, "cells": len(found)})
    return judged


def _head(cell: Cell) -> tuple[str, str, str]:
    return cell.model, str(cell.rows), str(cell.threads)


def _number(cell: Cell, contender: Contender, scale: float) -> str:
    return f"{cell.seconds(contender) * scale:.3g}" if contender in cell.turns else ""


def write_json(path: Path, cells: Sequence[Cell], settings: Mapping[str, Any]) -> None:
    """Write all measurements, and the machine."""
    described = {
        **conditions("benchmarks.sampling"),
        **settings,
        "goals": judge(cells),
        "cells": [_to_json(cell) for cell in cells],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n")


def _to_json(cell: Cell) -> dict[str, Any]:
    return {
        "model": cell.model,
        "rows": cell.rows,
        "threads": cell.threads,
        "passes": cell.passes,
        "multiply_adds": cell.multiply_adds,
        "milliseconds": {one.label: 1e3 * cell.seconds(one) for one in cell.turns},
        "milliseconds_by_turn": {one.label: [1e3 * turn for turn in turns] for one, turns in cell.turns.items()},
        "large_product_milliseconds": 1e3 * cell.large_product_seconds,
        "best_peer": cell.best_peer.label if cell.best_peer else None,
        "ratios": cell.ratios,
        "standard_errors": {one.label: distance for one, distance in cell.standard_errors.items()},
        "same_masks_error": cell.same_masks_error,
        "absent": {one.label: reason for one, reason in cell.absent.items()},
    }
