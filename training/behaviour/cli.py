"""The command `dropserve behaviour`."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from service.extras import remedy
from service.progress import progress
from training.behaviour.settings import QUICK, Settings
from training.config import load_config
from training.errors import TrainingError
from training.flags import given
from training.terminal import out, print_line, reported_errors

if TYPE_CHECKING:
    from training.behaviour.study import Report

USUAL = Settings()
"""The settings without --quick."""
DEFAULT_FOLDER = Path("build/behaviour")
"""The folder of a report without a model."""


def behaviour(
    model: Annotated[
        Path | None,
        typer.Option(
            help="Published model to measure too; the report is also written to its folder.", metavar="NAME/VERSION"
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Data to learn, as for train; by default the model's if it is here, or digits.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column of a table to learn.")] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="Columns not to use, separated by commas; may be repeated.", metavar="A,B"),
    ] = None,
    missing: Annotated[str | None, typer.Option(help="Missing values: refuse, drop or median.")] = None,
    hidden: Annotated[str | None, typer.Option(help="Units of each hidden layer, separated by commas.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", help=f"Folder to write to; {DEFAULT_FOLDER} without a model.", metavar="DIR"),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help=f"Networks of each p. [default: {USUAL.seeds}]")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="First seed.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help=f"Epochs of each network. [default: {USUAL.epochs}]")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Device of training; unless given cpu, where a seed gives the same numbers."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure little, as a trial; never replaces a model's report.")
    ] = False,
) -> None:
    """Measure what dropout does: in training, at prediction, to redundancy, overfitting, and the consensus.

    Trains networks with p = 0, 0.2 and 0.5, and writes behaviour.html, and behaviour.md with its charts, to DIR, and
    to the model's folder if one is given. Each of six claims has its numbers, their bounds and a verdict.

    Example: dropserve behaviour --model models/digits/1

    Example: dropserve behaviour --model models/houses/1 --data houses.csv
    """
    flags = {"data": data, "target": target, "ignore": ignore, "missing": missing, "hidden": hidden, "device": device}
    counts = {"seeds": seeds, "seed": seed, "epochs": epochs}
    with reported_errors():
        _behaviour(model, given(flags), folder, given(counts), quick)


def _behaviour(
    model: Path | None, chosen: dict[str, Any], folder: Path | None, counts: dict[str, Any], quick: bool
) -> None:
    try:  # torch takes seconds to import, and --help does not need it
        from training.behaviour.study import of_model, study
        from training.behaviour.writing import HTML, check_writable, files_of, files_of_model, write
    except ModuleNotFoundError as error:
        raise TrainingError(f"{error.name} is not installed; the report needs it; {remedy('training')}") from None

    overrides = {"device": "cpu", **chosen}
    config = of_model(model, overrides) if model else load_config(None, overrides)
    beside = None if model and quick and (model / HTML).exists() else model  # a quick report never replaces another
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
    print_line(f"Report: {', '.join(str(place / HTML) for place in places)}")


def _measured(make: Callable[[Callable[[str], None]], "Report"]) -> "Report":
    with progress("behaviour", out) as position:
        return make(position.at)


def _show(report: "Report", seconds: float) -> None:
    from training.behaviour.report import headline

    table = Table("claim", "verdict", "main finding")
    for claim in report.claims:
        table.add_row(claim.title, claim.verdict, f"{headline(claim).what}: {headline(claim).found}")
    out.print(table, markup=False)
    out.print(f"Measured in {seconds:.0f} s.", markup=False)
