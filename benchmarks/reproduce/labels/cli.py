"""The command `python -m benchmarks.reproduce labels`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.reproduce.records import Record, check, save
from benchmarks.reproduce.terminal import show
from service.extras import remedy
from service.progress import Position, progress
from training.errors import TrainingError
from training.terminal import out, reported_errors


def labels(
    data: Annotated[str, typer.Option(help="Data set of classes: a file, or digits.")] = "digits",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0 on.")] = 5,
    first: Annotated[int, typer.Option(min=2, help="Rows labelled at random first.")] = 20,
    batch: Annotated[int, typer.Option(min=1, help="Rows labelled a round.")] = 10,
    last: Annotated[int, typer.Option(min=2, help="Labels at the end.")] = 200,
    passes: Annotated[int, typer.Option(min=2, help="Samples that score a row.")] = 100,
    results: Annotated[Path, typer.Option(help="File of results; other results in it stay.")] = Path(
        "build/results/labels.json"
    ),
) -> None:
    """Compare the choice of rows to label next: by mutual information (BALD), by entropy, and at random.

    A network is trained on few labelled rows, exported, and the service's engine scores the other rows; the best of a
    round are labelled, and training begins anew. Prints accuracy on held-out rows over the labels used, and draws it.
    """
    with reported_errors():
        check(results)
        _run(data, seeds, (first, batch, last, passes), results)
        _show(results)


def _run(source: str, seeds: int, numbers: tuple[int, int, int, int], results: Path) -> None:
    """Save the results of each seed and strategy before the next is begun."""
    try:
        from benchmarks.reproduce.labels.experiment import SCORES, Plan, check_plan, learn
        from training.data import load_data  # torch takes seconds to import, and --help does not need it
    except ModuleNotFoundError as error:
        raise TrainingError(f"{error.name} is not installed; training needs it; {remedy('training')}") from None

    data, plan = load_data(source), Plan(*numbers)
    check_plan(plan, data)
    for seed in range(seeds):
        for way in SCORES:
            began = time.perf_counter()
            with progress(f"seed {seed}, {way}", out) as position:

                def on_round(count: int, accuracy: float, position: Position = position) -> None:
                    position.at(f"labels, accuracy {accuracy:.3f}", count, plan.last)

                accuracies = learn(data, way, seed, plan, on_round)
            record = {"data": data.name, "data_sha256": data.sha256, "way": way, "seed": seed, "passes": plan.passes}
            record |= {"labels": plan.counts, "accuracy": accuracies, "seconds": time.perf_counter() - began}
            save(results, record, lambda one: (one["way"], one["seed"]))
            out.print(f"seed {seed}, {way}: {accuracies[-1]:.3f} with {plan.last} labels", markup=False)


def _show(results: Path) -> None:
    from benchmarks.reproduce.labels.report import table

    show(results, table, _draw)


def _draw(records: list[Record], results: Path) -> list[Path]:
    from benchmarks.reproduce.labels.plot import draw

    picture = results.with_suffix(".png")
    draw(records, picture)
    return [picture]
