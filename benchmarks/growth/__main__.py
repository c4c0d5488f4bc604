"""Measure how time grows, fit it, and draw it: `python -m benchmarks.growth`. Needs wrk for the connections."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.growth import work
from benchmarks.growth.fit import Growth, fit
from benchmarks.growth.plot import draw
from benchmarks.machine import conditions
from benchmarks.serving.load import wrk

WORK = Path("build/growth")


class Panel(NamedTuple):
    """A quantity, the sizes measured, and the measurement."""

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


def main(
    model: Annotated[Path, typer.Option(help="Folder of the model to measure.")] = Path("models/digits/1"),
    largest: Annotated[int, typer.Option(help="Leave out sizes beyond this, for a quick look.", min=128)] = 2048,
    out: Annotated[Path, typer.Option(help="JSON file to write; the plot goes beside it.")] = Path("build/growth.json"),
) -> None:
    """Measure all, print a table, write JSON and a plot."""
    wrk()
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


def tabulate(grown: Sequence[Growth]) -> Table:
    """Return a table with a row for each growth."""
    table = Table("quantity", "sizes", "ms, first to last", "line, ms", "exponent of the larger half")
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
    """Write all points and fits, and the machine."""
    described = {**conditions("benchmarks.growth"), "grown": [growth._asdict() for growth in grown]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(described, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
