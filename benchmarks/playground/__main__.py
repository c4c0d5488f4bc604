"""Measure the answers a second that the playground shows while a slider moves: `python -m benchmarks.playground`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.browser import open_browser
from benchmarks.local_service import serve
from benchmarks.machine import conditions
from benchmarks.playground.page import Rate, move, open_playground

SLIDERS = ("Turn", "Add noise", "Drop pixels")
NETWORKS = (1, 100, 1000)


def main(
    models: Annotated[Path, typer.Option(help="Folder of models; the default must be of pictures.")] = Path("models"),
    seconds: Annotated[float, typer.Option(help="Seconds that each slider moves.", min=1)] = 5,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = Path("build/playground.json"),
) -> None:
    """Measure, print a table, write JSON."""
    console = Console(width=120)
    with console.status("measuring"), serve(models) as url, open_browser() as browser:
        page = open_playground(browser, url)
        rates = [move(page, slider, networks, seconds) for networks in NETWORKS for slider in SLIDERS]
    console.print(tabulate(rates))
    out.parent.mkdir(parents=True, exist_ok=True)
    described = {**conditions("benchmarks.playground"), "rates": [rate._asdict() for rate in rates]}
    out.write_text(json.dumps(described, indent=2) + "\n")
    console.print(f"Written to {out}.")


def tabulate(rates: Sequence[Rate]) -> Table:
    """Return a table with a row for each rate."""
    table = Table("slider", "networks", "answers a second", "frames a second")
    for rate in rates:
        figures = (f"{rate.answers_per_second:.1f}", f"{rate.frames_per_second:.1f}")
        table.add_row(rate.slider, str(rate.networks), *figures)
    return table


if __name__ == "__main__":
    typer.run(main)
