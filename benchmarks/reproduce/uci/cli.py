"""The command `python -m benchmarks.reproduce uci --data DIR`."""

import os
import time
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.reproduce.records import Record, check, save
from benchmarks.reproduce.terminal import show
from benchmarks.reproduce.uci.protocol import SPLITS
from benchmarks.reproduce.uci.table import read_table
from service.extras import remedy
from service.progress import progress
from training.errors import ConfigError, TrainingError
from training.terminal import out, reported_errors


def uci(
    data: Annotated[Path, typer.Option(help="Folder of NAME.csv, each with a header x0,…,xk,y.", metavar="DIR")],
    only: Annotated[str, typer.Option(help="Names to run, separated by commas; by default all.")] = "",
    layers: Annotated[str, typer.Option(help="Numbers of hidden layers to run, separated by commas.")] = "1",
    hidden: Annotated[int, typer.Option(min=1, help="Units of a hidden layer.")] = 50,
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of a training; default: the authors' for one layer.")
    ] = 4000,
    splits: Annotated[int, typer.Option(min=1, max=SPLITS, help="Number of the paper's splits.")] = SPLITS,
    passes: Annotated[int, typer.Option(min=1, help="Samples for the test figures.")] = 10_000,
    validation_passes: Annotated[int, typer.Option(min=1, help="Samples for the choice.")] = 500,
    merge_taus: Annotated[
        bool, typer.Option("--merge-taus", help="For the choice, train one network a p for all τ: a third of the work.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, orders of rows, and dropout.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    results: Annotated[Path, typer.Option(help="File of results; other results in it stay.")] = Path(
        "build/results/uci.json"
    ),
) -> None:
    """Reproduce Gal & Ghahramani (2016), Table 1: errors and log-likelihoods of dropout networks.

    For each of 20 splits p and τ are chosen by validation log-likelihood, and a network is trained, published, and run
    through the service's engine. Prints the figures beside the published ones, and draws them beside FILE.

    Example: python -m benchmarks.reproduce uci --data uci --only concrete,energy --layers 1,2
    """
    common: dict[str, Any] = {"hidden": hidden, "epochs": epochs, "splits": splits, "passes": passes, "seed": seed}
    common |= {"validation_passes": validation_passes, "merge_taus": merge_taus}
    with reported_errors():
        check(results)
        files, counts = _files(data, only), _counts(layers)
        for file, count in product(files, counts):
            _run(file, {"layers": count, **common}, workers, results)
        _show(results)


def _files(folder: Path, only: str) -> list[Path]:
    found = {file.stem: file for file in sorted(folder.glob("*.csv"))}
    names = only.split(",") if only else list(found)
    if missing := [name for name in names if name not in found]:
        there = ", ".join(found) or "none"
        raise ConfigError(f"--only: no {missing[0]}.csv in {folder}; there are: {there}")
    if not names:
        raise ConfigError(f"--data: no file NAME.csv in {folder}")
    return [found[name] for name in names]


def _counts(text: str) -> list[int]:
    counts = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if min(counts) < 1:
        raise ConfigError(f"--layers: expected numbers from 1, separated by commas, such as 1,2; found {text!r}")
    return counts


def _run(file: Path, settings: dict[str, Any], workers: int, results: Path) -> None:
    """Run a study, and save its results before the next is begun."""
    try:
        from benchmarks.reproduce.uci.experiment import (
            Study,  # torch takes seconds to import, and --help does not need it
        )
        from benchmarks.reproduce.uci.report import key, record
        from benchmarks.reproduce.uci.run import run
    except ModuleNotFoundError as error:
        raise TrainingError(f"{error.name} is not installed; training needs it; {remedy('training')}") from None

    study = Study(table=read_table(file), **settings)
    with progress(f"{study.table.name}, layers: {study.layers}", out) as position:

        def on_progress(step: str, done: int, of: int) -> None:
            position.at(f"epochs; {step}; {done // study.epochs} of {of // study.epochs} trainings", done, of)

        began = time.perf_counter()
        outcome = run(study, workers, on_progress)
    save(results, record(study, outcome, time.perf_counter() - began), key)
    out.print(f"{study.table.name}, layers: {study.layers}: done in {time.perf_counter() - began:.0f} s", markup=False)


def _show(results: Path) -> None:
    from benchmarks.reproduce.uci.report import table

    show(results, table, _draw)


def _draw(records: list[Record], results: Path) -> list[Path]:
    from benchmarks.reproduce.uci.plot import draw

    picture = results.with_suffix(".png")
    draw(records, picture)
    return [picture]
