"""Evaluate a finished model on test rows and on OOD rows."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from service.engine.engine import Engine
from service.engine.inputs import Inputs, count_rows
from service.errors import InvalidInput
from service.model.manifest import ClassFigures
from service.model.runtime import Array
from training.evidence.answers import compute_answers
from training.evidence.evaluate import evaluate, evaluate_ood, join
from training.evidence.metrics import Figures
from training.evidence.ood import ood_inputs
from training.evidence.plots import plot
from training.evidence.reliability import reliability_warnings
from training.evidence.skill import class_figures, skill_warnings

OOD_ROWS = 1000
"""The largest number of rows of each kind; they give an AUROC to about 0.01."""
OTHER = "other"
"""The kind of OOD rows that come from another data set."""


class Report(NamedTuple):
    """Results of an evaluation."""

    figures: Figures
    plots: Mapping[str, bytes]
    """SVG files by name."""
    classes: tuple[ClassFigures, ...]
    """Figures of each class, in the order of the labels."""
    warnings: tuple[str, ...]
    """Sentences on weaknesses that the figures show."""


def make_report(
    engine: Engine, inputs: Inputs, targets: Array, others: Inputs | None, passes: int, seed: int
) -> Report:
    """Return the figures, plots and warnings of test rows, and of OOD rows if `others` holds any.

    Raises InvalidInput for rows of either that the model has no finite answer to.
    """
    answers = compute_answers(engine, inputs, passes, seed)
    figures = [evaluate(answers, targets, engine.manifest)]
    for kind, ood in ood_inputs(_some(inputs, seed), seed).items():
        try:
            figures.append(evaluate_ood(answers, compute_answers(engine, ood, passes, seed), kind))
        except InvalidInput:
            continue  # a refusal is right: the service would refuse such rows, too
    if others is not None:
        figures.append(evaluate_ood(answers, compute_answers(engine, _some(others, seed), passes, seed), OTHER))
    manifest, joined = engine.manifest, join(*figures)
    warnings = (*skill_warnings(answers, targets, manifest), *reliability_warnings(joined, manifest, len(targets)))
    return Report(joined, plot(answers, targets), class_figures(answers, targets, manifest.labels), warnings)


def _some(inputs: Inputs, seed: int) -> Inputs:
    """Return at most OOD_ROWS of the rows."""
    rows = np.random.default_rng(seed).permutation(count_rows(inputs))[:OOD_ROWS]
    return {name: values[rows] for name, values in inputs.items()}
