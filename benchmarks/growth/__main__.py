"""Measure how time grows, fit it, and draw it: `python -m benchmarks.growth`. Needs wrk for the connections."""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.growth import work
from benchmarks.machine import machine

WORK = Path("build/growth")


class Panel(NamedTuple):
    """What grows, the sizes measured, and how."""

    name: str
    measure: Callable[[Path, Path, Sequence[int]], work.Points]
    sizes: tuple[int, ...]


PANELS = (
    Panel("passes", work.passes, (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)),
    Panel("rows", work.rows, (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)),
    Panel("width", work.width, (64, 128, 256, 512, 1024, 2048)),
    Panel("models loaded", work.models, (1, 2, 4, 8, 16, 32, 64)),
    Panel("connections", work.connections, (1, 2, 4, 8, 16, 32, 64, 128, 256)),
)


class Growth(NamedTuple):
    """What was measured, and the two ways of saying how it grows."""

    name: str
    sizes: list[int]
    seconds: list[float]
    start: float
    each: float
    """seconds ≈ start + each · size, by least squares of relative errors."""
    exponent: float
    """seconds ∝ size^exponent among the larger half of the sizes."""


def main(
    model: Annotated[Path, typer.Option(help="Folder of the model to ask.")] = Path("models/digits/1"),
    largest: Annotated[int, typer.Option(help="Leave out sizes beyond this, for a quick look.", min=128)] = 2048,
    out: Annotated[Path, typer.Option(help="JSON file to write; the plot goes beside it.")] = Path("build/growth.json"),
) -> None:
    """Measure all, print a table, write JSON and a plot."""
    console = Console(width=120)
    with console.status("measuring") as status:
        grown = []
        for panel in PANELS:
            status.update(f"measuring {panel.name}")
            sizes = [size for size in panel.sizes if size <= largest]
            grown.append(fit(panel.name, dict(panel.measure(model, WORK, sizes))))
    console.print(tabulate(grown))
    write_json(out, grown)
    draw(grown, out.with_suffix(".png"))
    console.print(f"Written to {out} and {out.with_suffix('.png')}.")


def fit(name: str, points: dict[int, float]) -> Growth:
    """The line and the exponent of measured points, at least two."""
    sizes, seconds = np.array(list(points), dtype=float), np.array(list(points.values()))
    each, start = np.polyfit(sizes, seconds, 1, w=1 / seconds)
    larger = slice(len(sizes) // 2 - 1, None)
    exponent = np.polyfit(np.log(sizes[larger]), np.log(seconds[larger]), 1)[0]
    return Growth(name, list(points), list(points.values()), float(start), float(each), float(exponent))


def tabulate(grown: Sequence[Growth]) -> Table:
    """A row for each."""
    table = Table("of", "sizes", "ms, first to last", "line, ms", "exponent of the larger half")
    for growth in grown:
        table.add_row(
            growth.name,
            f"{growth.sizes[0]} to {growth.sizes[-1]}",
            f"{1e3 * growth.seconds[0]:.3g} to {1e3 * growth.seconds[-1]:.3g}",
            f"{1e3 * growth.start:.3g} + {1e3 * growth.each:.3g} · size",
            f"{growth.exponent:.2f}",
        )
    return table


def write_json(path: Path, grown: Sequence[Growth]) -> None:
    """All points and fits, and what they were measured on."""
    described: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.growth", *sys.argv[1:]]),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "grown": [growth._asdict() for growth in grown],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(described, indent=2) + "\n")


def draw(grown: Sequence[Growth], path: Path) -> None:
    """A panel for each, both axes logarithmic, with the line that was fitted."""
    figure = Figure(figsize=(4 * len(grown), 4), layout="constrained")
    for axes, growth in zip(figure.subplots(1, len(grown), squeeze=False)[0], grown, strict=True):
        sizes = np.geomspace(growth.sizes[0], growth.sizes[-1], 100)
        axes.plot(growth.sizes, 1e3 * np.array(growth.seconds), "o", color="#d95f02")
        line = 1e3 * (growth.start + growth.each * sizes)
        axes.plot(sizes[line > 0], line[line > 0], color="#1b4b72", linewidth=1)
        axes.set(xscale="log", yscale="log", xlabel=growth.name, title=f"size^{growth.exponent:.2f} in the end")
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, high / 30), 3 * high)  # or noise would look like growth
    figure.axes[0].set_ylabel("milliseconds; the line is start + each · size")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    typer.run(main)
