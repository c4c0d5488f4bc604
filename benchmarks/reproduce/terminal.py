"""Show an experiment's results and plots on the terminal."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.table import Table

from benchmarks.reproduce.records import Record, read
from service.extras import remedy
from training.terminal import out, print_line


def show(
    results: Path,
    table: Callable[[list[Record]], Table],
    draw: Callable[[list[Record], Path], Sequence[Path]],
) -> None:
    """Print the records of a file as a table, and draw them if matplotlib is installed."""
    records = read(results)
    out.print(table(records))
    print_line(f"Results: {results}")
    try:
        drawn = draw(records, results)
    except ModuleNotFoundError:
        print_line(f"No plots: they need matplotlib; {remedy('docs')}")
        return
    print_line(f"Plots: {', '.join(map(str, drawn))}")
