"""Trial: masks of passes that know of each other, against independent ones: `python -m benchmarks.trials.antithetic`.

Each scheme answers real rows many times over. Told are, beside independent masks, the variance of the answers and
their mean squared error from a long independent run (variance and bias), and the bias itself. Passes that depend on
each other also spoil what they say of their own error: its ratio to the true one is told, too.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.trials.models import Model, diabetes, digits
from benchmarks.trials.schemes import SCHEMES, Scheme, independent
from benchmarks.trials.trial import record
from service.engine.masks import keep_scale
from service.engine.uncertainty import softmax, summarise_classes, summarise_regression
from service.model.runtime import Array, Graph

ROWS, REPETITIONS, PASSES = 32, 300, (20, 100)
REFERENCE, GROUP = 20_000, 100
"""Independent passes that the others are held against, and how many of them are drawn at a time."""

Numbers = dict[str, Array]
"""A number's name → its values, one a row or more."""


class Asked(NamedTuple):
    """A model, ready to run, and what is made of its samples (passes, rows, outputs)."""

    model: Model
    graph: Graph
    summarise: Callable[[Array, float], Numbers]


def draw(asked: Asked, scheme: Scheme, seed: int, passes: int) -> Array:
    """Samples (passes, rows, outputs)."""
    rng = np.random.default_rng(seed)
    feeds = {"input": asked.model.rows[:ROWS]}
    for i, site in enumerate(asked.model.sites):
        dropped = scheme(rng, site, passes)[:, None]  # (passes, 1, units)
        feeds[f"mask_{i}"] = np.where(dropped, np.float32(0), keep_scale(site.p))
    return asked.graph.run(feeds)


def repeat(asked: Asked, scheme: Scheme, passes: int) -> Numbers:
    """Each number, (repetitions, …)."""
    seeds = range(REPETITIONS)
    answers = [asked.summarise(draw(asked, scheme, seed, passes), asked.model.temperature) for seed in seeds]
    return {name: np.stack([numbers[name] for numbers in answers]) for name in answers[0]}


def refer(asked: Asked) -> Numbers:
    """Each number from many independent passes."""
    seeds = range(REPETITIONS, REPETITIONS + REFERENCE // GROUP)
    samples = np.concatenate([draw(asked, independent, seed, GROUP) for seed in seeds])
    return asked.summarise(samples, asked.model.temperature)


def classes(samples: Array, temperature: float) -> Numbers:
    """Of a classification."""
    said = summarise_classes(softmax(samples, temperature))
    numbers = {"mean": said.mean, "standard error": said.standard_error}
    return numbers | {"predictive entropy": said.predictive_entropy, "mutual information": said.mutual_information}


def values(samples: Array, _: float) -> Numbers:
    """Of a regression."""
    said = summarise_regression(samples.astype(np.float64))
    return {"mean": said.mean, "standard error": said.standard_error, "epistemic std": said.epistemic_std}


def squares(repeated: Array) -> Array:
    """Squared distance of each repetition from their mean, over all rows: (repetitions,)."""
    distance = repeated - repeated.mean(axis=0)
    return np.asarray(np.square(distance).reshape(len(repeated), -1).sum(axis=1))


def compare(asked: Asked) -> Iterator[dict[str, Any]]:
    """Every number by every scheme; variances and errors are summed over rows before they are divided."""
    reference = refer(asked)
    for passes in PASSES:
        plain = repeat(asked, independent, passes)
        for scheme in SCHEMES:
            tried = repeat(asked, scheme, passes)
            said = np.square(tried.pop("standard error")).mean(axis=0).sum() / tried["mean"].var(axis=0).sum()
            for name, numbers in tried.items():
                told = {"model": asked.model.name, "passes": passes, "number": name, "scheme": scheme.__name__}
                yield told | judge(numbers, plain[name], reference[name], passes) | {"said_error": float(np.sqrt(said))}


def judge(tried: Array, plain: Array, reference: Array, passes: int) -> dict[str, float]:
    """What a scheme's repetitions are worth beside those of independent masks."""
    own, other = squares(tried), squares(plain)
    bias, plain_bias = tried.mean(axis=0) - reference, plain.mean(axis=0) - reference
    noise = tried.var(axis=0) / REPETITIONS + plain.var(axis=0) * passes / REFERENCE
    mean_square, plain_mean_square = own.mean() + np.square(bias).sum(), other.mean() + np.square(plain_bias).sum()
    return {
        "variance_ratio": float(own.mean() / other.mean()),
        "its_noise": float(np.hypot(own.std() / own.mean(), other.std() / other.mean()) / np.sqrt(REPETITIONS)),
        "error_ratio": float(mean_square / plain_mean_square),
        "bias_percent": float(100 * bias.sum() / reference.sum()),
        "bias_by_noise": float(np.sqrt(np.square(bias).sum() / noise.sum())),
    }


def main() -> None:
    """Measure both models, print a table, write it as JSON."""
    console = Console(width=120)
    table = Table("model", "T", "number", "masks", "variance", "error²", "bias, %", "bias/noise", "said/true s.e.")
    found: list[dict[str, Any]] = []
    for model, summarise in ((digits(), classes), (diabetes(), values)):
        found += compare(Asked(model, Graph(model.sample.SerializeToString()), summarise))
    found.sort(key=lambda line: (line["model"], line["number"], line["passes"]))
    for line in found:
        variance = f"{line['variance_ratio']:.2f} ± {line['its_noise'] * line['variance_ratio']:.2f}"
        ratios = [variance, f"{line['error_ratio']:.2f}", f"{line['bias_percent']:.2f}", f"{line['bias_by_noise']:.1f}"]
        said = ""
        if line["number"] == "mean":  # of which the sum over rows tells nothing
            ratios[2], said = "", f"{line['said_error']:.2f}"
        table.add_row(line["model"].split()[0], str(line["passes"]), line["number"], line["scheme"], *ratios, said)
    console.print(table)
    console.print(f"Written to {record('antithetic', found)}.")


if __name__ == "__main__":
    typer.run(main)
