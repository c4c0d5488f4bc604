"""The command `python -m benchmarks.reproduce mnist --data mnist.npz`."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.reproduce.mnist.protocol import ANGLES, PASSES, RECIPES, Recipe
from benchmarks.reproduce.records import Record, check, save
from benchmarks.reproduce.terminal import show
from service.extras import remedy
from service.progress import progress
from training.errors import ConfigError, TrainingError
from training.terminal import out, reported_errors


def mnist(
    data: Annotated[Path, typer.Option(help="NPZ file of x_train, y_train, x_test and y_test.", metavar="FILE")],
    only: Annotated[str, typer.Option(help=f"Some of {', '.join(RECIPES)}, separated by commas; by default all.")] = "",
    epochs: Annotated[int, typer.Option(min=0, help="Epochs of each training; 0: each recipe's own.")] = 0,
    hidden: Annotated[
        int, typer.Option(min=0, help="Units of a fully connected hidden layer; 0: the recipe's own.")
    ] = 0,
    rows: Annotated[int, typer.Option(min=0, help="Number of training rows, from the first; 0: all.")] = 0,
    test_rows: Annotated[int, typer.Option(min=0, help="Number of test rows, from the first; 0: all.")] = 0,
    turned_rows: Annotated[int, typer.Option(min=1, help="Test digits that are rotated.")] = 1000,
    device: Annotated[str, typer.Option(help="Device of training: auto, cpu, cuda, cuda:N or mps.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, order of rows, and dropout.")] = 0,
    results: Annotated[Path, typer.Option(help="File of results; other results in it stay.")] = Path(
        "build/results/mnist.json"
    ),
) -> None:
    """Reproduce Srivastava et al. (2014) on MNIST: test errors, and the number of samples that matches weight scaling.

    Each network is trained on all training rows, published, and run through the service's engine. Prints the errors
    beside the published ones, and draws two pictures beside FILE: the error over the number of samples, and accuracy
    and entropies of rotated digits.

    A trial in minutes: python -m benchmarks.reproduce mnist --data mnist.npz --only mlp --hidden 256 --epochs 5
    """
    with reported_errors():
        check(results)
        for name in _names(only):
            _run(
                name,
                _changed(RECIPES[name], epochs, hidden),
                data,
                (rows, test_rows, turned_rows),
                device,
                seed,
                results,
            )
        _show(results)


def _changed(recipe: Recipe, epochs: int, hidden: int) -> Recipe:
    widths = (hidden or recipe.hidden[0],) * len(recipe.hidden)
    return replace(recipe, epochs=epochs or recipe.epochs, hidden=widths)


def _names(text: str) -> list[str]:
    names = text.split(",") if text else list(RECIPES)
    if unknown := [name for name in names if name not in RECIPES]:
        raise ConfigError(f"--only: there is no {unknown[0]!r}; there are: {', '.join(RECIPES)}")
    return names


def _run(
    name: str, recipe: Recipe, data: Path, counts: tuple[int, int, int], device: str, seed: int, results: Path
) -> None:
    """Train and evaluate a network, and save its results before the next is begun."""
    try:
        from benchmarks.reproduce.mnist import study  # torch takes seconds to import, and --help does not need it
        from benchmarks.reproduce.mnist.digits import read_digits
        from benchmarks.reproduce.mnist.fit import fit
        from benchmarks.reproduce.mnist.report import record
        from training.networks.device import choose_device
    except ModuleNotFoundError as error:
        raise TrainingError(f"{error.name} is not installed; training needs it; {remedy('training')}") from None

    digits = read_digits(data, *counts)
    place = choose_device(device)
    with progress(f"mnist, {name}", out) as position:
        began = time.perf_counter()

        def on_epoch(loss: float) -> None:
            position.at(f"epochs on {place}, loss {loss:.4f}", position.done + 1, recipe.epochs)

        network = fit(recipe, digits.images, digits.labels, place, seed, on_epoch)
        engine = study.serve(network, digits.test_images)
        rate = study.error(engine, digits.test_images, digits.test_labels)

        def on_rows(done: int) -> None:
            position.at(f"test digits by {max(PASSES)} thinned networks", done, len(digits.test_labels))

        on_rows(0)
        curve = study.curve(engine, digits.test_images, digits.test_labels, PASSES, seed, on_rows)

        def on_angle(done: int) -> None:
            position.at("angles", done, len(ANGLES))

        on_angle(0)
        turned = study.turn(engine, digits.turned_images, digits.turned_labels, seed, on_angle)
        seconds = time.perf_counter() - began
    found = record(name, recipe, len(digits.labels), seed, rate, curve, turned, seconds)
    save(results, found, lambda one: one["network"])
    out.print(f"{name}: test error {rate:.2f} %, done in {seconds:.0f} s", markup=False)


def _show(results: Path) -> None:
    from benchmarks.reproduce.mnist.report import table

    show(results, table, _draw)


def _draw(records: list[Record], results: Path) -> list[Path]:
    from benchmarks.reproduce.mnist.plot import draw

    samples, turned = (results.with_name(f"{results.stem}_{what}.png") for what in ("samples", "turned"))
    draw(records, samples, turned)
    return [samples, turned]
