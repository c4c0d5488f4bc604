"""The terminal of an experiment: progress, results and plots."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.reproduce.records import Record, read
from service.errors import DropserveError
from service.extras import remedy
from training.errors import ConfigError

FAILURE = 1
USAGE = 2

out = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)


@contextmanager
def reported_errors() -> Iterator[None]:
    """Print an error as one line, and exit the command."""
    try:
        yield
    except DropserveError as error:
        errors.print(f"Error: {error.message}", markup=False, style="red", soft_wrap=True)
        raise typer.Exit(USAGE if isinstance(error, ConfigError) else FAILURE) from None


def show(
    results: Path,
    table: Callable[[list[Record]], Table],
    draw: Callable[[list[Record], Path], Sequence[Path]],
) -> None:
    """Print the records of a file as a table, and draw them if matplotlib is installed."""
    records = read(results)
    out.print(table(records))
    out.print(f"Results: {results}", markup=False, soft_wrap=True)
    try:
        drawn = draw(records, results)
    except ModuleNotFoundError:
        out.print(f"No plots: they need matplotlib; {remedy('docs')}", markup=False, soft_wrap=True)
        return
    out.print(f"Plots: {', '.join(map(str, drawn))}", markup=False, soft_wrap=True)
