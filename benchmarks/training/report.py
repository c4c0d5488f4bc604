"""Report cells as a table and JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import conditions
from benchmarks.training.contenders import LABELS, OURS
from benchmarks.training.measure import BAND, Cell


def print_table(cells: Sequence[Cell], console: Console) -> None:
    """Print the samples a second of each contender, and the ratio of Dropserve's to them."""
    table = Table("network", "threads", "", "samples/s", "ours / theirs", "loss", box=box.MARKDOWN)
    for cell in cells:
        for contender in cell.turns:
            ratio = "" if contender == OURS else f"{cell.ratio(contender):.2f}"
            speed, loss = f"{cell.per_second(contender):.0f}", f"{cell.losses[contender]:.3f}"
            table.add_row(cell.network, str(cell.threads), LABELS[contender], speed, ratio, loss)
    console.print(table)
    for reason in sorted({f"{LABELS[name]}: {why}" for cell in cells for name, why in cell.absent.items()}):
        console.print(f"Absent: {reason}")


def write_json(path: Path, cells: Sequence[Cell], settings: Mapping[str, Any]) -> None:
    """Write all measurements, and the machine."""
    described = {
        **conditions("benchmarks.training"),
        **settings,
        "band": BAND,
        "cells": [to_json(cell) for cell in cells],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n")


def to_json(cell: Cell) -> dict[str, Any]:
    """Return a cell by the contenders' labels."""
    return {
        "network": cell.network,
        "threads": cell.threads,
        "rows": cell.rows,
        "samples_per_second": {LABELS[one]: cell.per_second(one) for one in cell.turns},
        "ratios": {LABELS[one]: cell.ratio(one) for one in cell.turns if one != OURS},
        "losses": {LABELS[one]: loss for one, loss in cell.losses.items()},
        "seconds_by_turn": {LABELS[one]: turns for one, turns in cell.turns.items()},
        "absent": {LABELS[one]: why for one, why in cell.absent.items()},
    }
