"""The command `dropserve behaviour`."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from service.errors import DropserveError
from service.extras import remedy
from service.progress import progress
from training.behaviour.settings import QUICK, Settings
from training.config import load_config
from training.errors import ConfigError, TrainingError
from training.flags import given

if TYPE_CHECKING:
    from training.behaviour.study import Report

FAILURE = 1
USAGE = 2
USUAL = Settings()
DEFAULT_FOLDER = Path("build/behaviour")

out = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)


def behaviour(
    model: Annotated[
        Path | None,
        typer.Option(help="Published model to measure too, and to put the report beside.", metavar="NAME/VERSION"),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Data to learn, as of train; by default the model's where it is here, or digits.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to learn, of a table.")] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="Columns not to use, separated by commas; may come again.", metavar="A,B")
    ] = None,
    missing: Annotated[str | None, typer.Option(help="Missing values: refuse, drop or median.")] = None,
    hidden: Annotated[str | None, typer.Option(help="Units of each hidden layer, separated by commas.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", help=f"Folder to write to; {DEFAULT_FOLDER} where no model is named.", metavar="DIR"),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help=f"Networks of each p. [default: {USUAL.seeds}]")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The first of the seeds.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help=f"Of every network. [default: {USUAL.epochs}]")] = None,
    device: Annotated[
        str | None, typer.Option(help="Where to train: cpu, where a seed always gives the same numbers, unless given.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure little, to see that it works; replaces no report beside a model.")
    ] = False,
) -> None:
    """Measure what dropout does: in training, at prediction, to redundancy, overfitting, and the consensus.

    Trains networks with p = 0, 0.2 and 0.5, and writes behaviour.html, and behaviour.md with its charts, to DIR, and
    beside the model where one is named. Each of six claims has its numbers, their bounds and a verdict.

    Example: dropserve behaviour --model models/digits/1

    Example: dropserve behaviour --model models/houses/1 --data houses.csv
    """
    flags = {"data": data, "target": target, "ignore": ignore, "missing": missing, "hidden": hidden, "device": device}
    counts = {"seeds": seeds, "seed": seed, "epochs": epochs}
    try:
        _behaviour(model, given(flags), folder, given(counts), quick)
    except DropserveError as error:
        errors.print(f"Error: {error.message}", markup=False, style="red", soft_wrap=True)
        raise typer.Exit(USAGE if isinstance(error, ConfigError) else FAILURE) from None


def _behaviour(
    model: Path | None, chosen: dict[str, Any], folder: Path | None, counts: dict[str, Any], quick: bool
) -> None:
    try:  # torch takes seconds to import, and --help needs none of it
        from training.behaviour.study import of_model, study
        from training.behaviour.writing import HTML, check_writable, files_of, files_of_model, write
    except ModuleNotFoundError as error:
        raise TrainingError(f"{error.name} is not installed; the report needs it; {remedy('training')}") from None

    asked = {"device": "cpu", **chosen}
    config = of_model(model, asked) if model else load_config(None, asked)
    beside = None if model and quick and (model / HTML).exists() else model  # a quick report replaces none
    out_folder, folder = folder, folder or (None if beside else DEFAULT_FOLDER)
    places = [place for place in (folder, beside) if place]
    for place in places:
        check_writable(place)
    began = time.perf_counter()
    settings = replace(QUICK if quick else USUAL, **counts)
    options = {**chosen, **counts, **({"quick": True} if quick else {}), **({"out": out_folder} if out_folder else {})}
    report = _measured(lambda log: study(config, model, settings, options, log))
    if folder:
        write(folder, files_of(report))
    if beside:
        write(beside, files_of_model(report))
    _show(report, time.perf_counter() - began)
    out.print(f"Report: {', '.join(str(place / HTML) for place in places)}", markup=False, soft_wrap=True)


def _measured(make: Callable[[Callable[[str], None]], "Report"]) -> "Report":
    with progress("behaviour", out) as position:
        return make(position.at)


def _show(report: "Report", seconds: float) -> None:
    from training.behaviour.report import headline

    table = Table("claim", "verdict", "one of its numbers")
    for claim in report.claims:
        table.add_row(claim.title, claim.verdict, f"{headline(claim).what}: {headline(claim).found}")
    out.print(table, markup=False)
    out.print(f"Measured in {seconds:.0f} s.", markup=False)
