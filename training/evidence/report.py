"""A finished model and test rows → figures and plots: what it answers to them, and to rows that it should doubt."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from service.engine.engine import Engine
from service.engine.steps import Inputs, count_rows
from service.errors import InvalidInput
from service.model.manifest import ClassFigures
from service.model.runtime import Array
from training.evidence.answers import ask
from training.evidence.evaluate import Figures, evaluate, evaluate_strange, join
from training.evidence.plots import plot
from training.evidence.promises import unkept
from training.evidence.skill import class_figures, unlearned
from training.evidence.strange import strange_inputs

STRANGE_ROWS = 1000
"""At most so many of each kind; they give an AUROC to about 0.01."""
OTHER = "other"


class Report(NamedTuple):
    """What a test found."""

    figures: Figures
    plots: Mapping[str, bytes]
    """SVG files by name."""
    classes: tuple[ClassFigures, ...]
    """Of each class, in the order of the labels."""
    warnings: tuple[str, ...]
    """What the figures say against the model, in sentences."""


def make_report(
    engine: Engine, inputs: Inputs, targets: Array, others: Inputs | None, passes: int, seed: int
) -> Report:
    """Of test rows, and `others`, rows of another data set, if there are any.

    Raises InvalidInput for rows of either that the model has no finite answer to.
    """
    answers = ask(engine, inputs, passes, seed)
    figures = [evaluate(answers, targets, engine.manifest)]
    for kind, strange in strange_inputs(_some(inputs, seed), seed).items():
        try:
            figures.append(evaluate_strange(answers, ask(engine, strange, passes, seed), kind))
        except InvalidInput:
            continue  # refusing them is no fault: the service would do so, too
    if others is not None:
        figures.append(evaluate_strange(answers, ask(engine, _some(others, seed), passes, seed), OTHER))
    manifest, joined = engine.manifest, join(*figures)
    warnings = (*unlearned(answers, targets, manifest), *unkept(joined, manifest, len(targets)))
    return Report(joined, plot(answers, targets), class_figures(answers, targets, manifest.labels), warnings)


def _some(inputs: Inputs, seed: int) -> Inputs:
    """At most STRANGE_ROWS of the rows."""
    rows = np.random.default_rng(seed).permutation(count_rows(inputs))[:STRANGE_ROWS]
    return {name: values[rows] for name, values in inputs.items()}
