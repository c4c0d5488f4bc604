"""Compare a model's answers with a constant answer, and warn where they are no better."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from service.model.manifest import ClassFigures, Manifest
from service.model.runtime import Array
from training.evidence.answers import Answers
from training.evidence.glossary import KINDS
from training.evidence.metrics import Float64, Int64
from training.evidence.metrics.classes import accuracy, recall

SHOWN = norm.ppf(0.95)
"""Standard errors above 0 from which a gain over chance counts as significant, one-sided."""
NAMED = 5
"""The largest number of classes that a warning names."""
MOST_CLASSES = 1000
"""The largest number of classes with figures of their own, as a manifest should stay short."""


def class_figures(answers: Answers, targets: Array, labels: Sequence[str]) -> tuple[ClassFigures, ...]:
    """Return rows and recall of each class, in the order of the labels; empty for a regression and for very many
    classes.
    """
    if not 0 < len(labels) <= MOST_CLASSES:
        return ()
    recalls = [recall(values, targets) for values in (answers.deterministic, answers.uncertainty.mean)]
    return tuple(
        ClassFigures(rows=int(rows), recall=dict(zip(KINDS, map(float, found), strict=True)) if rows else {})
        for rows, *found in zip(np.bincount(targets, minlength=len(labels)), *recalls, strict=True)
    )


def skill_warnings(answers: Answers, targets: Array, manifest: Manifest) -> Iterator[str]:
    """Yield warnings of answers that are no better than a constant, and of classes never recognised or not tested.

    Targets are classes (rows,), or a regression's values (rows, outputs).
    """
    if not manifest.labels:
        return _unlearned_values(answers.deterministic, targets)
    return chain(
        _unlearned_classes(answers.deterministic, targets, manifest),
        _missed_classes(answers, targets, manifest.labels),
    )


def _unlearned_classes(probabilities: Float64, targets: Int64, manifest: Manifest) -> Iterator[str]:
    found, rows = accuracy(probabilities, targets), np.bincount(targets, minlength=len(manifest.labels))
    commonest, of_commonest = manifest.labels[rows.argmax()], rows.max() / rows.sum()
    if agreement_beyond_chance(probabilities.argmax(axis=1), targets) < SHOWN:
        yield (
            f"{found:.4f} of the {len(targets)} test rows are given the right class, which is not shown to be better"
            f" than chance; always answering {commonest!r} is right for {of_commonest:.4f}"
        )
    elif found <= of_commonest and not manifest.class_weights:
        yield (
            f"{found:.4f} of the {len(targets)} test rows are given the right class, no more than by always answering"
            f" {commonest!r}, {of_commonest:.4f}"
        )


def _missed_classes(answers: Answers, targets: Int64, labels: Sequence[str]) -> Iterator[str]:
    rows = np.bincount(targets, minlength=len(labels))
    missed = recall(answers.deterministic, targets) == 0
    if missed.any():
        yield f"recall 0, so never recognised: {_named(missed, labels, rows)}"
    missed_by_mean = (recall(answers.uncertainty.mean, targets) == 0) & ~missed
    if missed_by_mean.any():
        yield f"recall 0 with MC dropout, so not recognised by it: {_named(missed_by_mean, labels, rows)}"
    if (rows == 0).any():
        yield f"no test row has the class, so it is not evaluated: {_named(rows == 0, labels, rows)}"


def _named(which: NDArray[np.bool_], labels: Sequence[str], rows: Int64) -> str:
    """Return «'yes' (4 test rows), 'maybe' (0 test rows) and 3 more»."""
    places = np.flatnonzero(which)
    named = ", ".join(f"{labels[i]!r} ({rows[i]} test row{'s' * int(rows[i] != 1)})" for i in places[:NAMED])
    return named + f" and {len(places) - NAMED} more" * int(len(places) > NAMED)


def agreement_beyond_chance(answered: Int64, targets: Int64) -> float:
    """Return the excess of right classes over the same answers in random order, in standard deviations of such orders.

    Answers and targets are (rows,); mean and variance are the exact ones of a permutation statistic (Hoeffding 1951); 0
    where all answers or all targets are equal. The excess is the numerator of Cohen's kappa.
    """
    n, classes = len(targets), int(max(answered.max(), targets.max())) + 1
    p, t = (np.bincount(of, minlength=classes).astype(np.float64) for of in (answered, targets))
    expected = float(p @ t) / n
    variance = (p @ t - (p @ t**2 + p**2 @ t) / n + expected**2) / max(n - 1, 1)
    return float(((answered == targets).sum() - expected) / math.sqrt(variance)) if variance > 1e-9 else 0.0


def _unlearned_values(values: Float64, targets: Float64) -> Iterator[str]:
    """Yield a warning for each output whose squared errors are not significantly below those of the targets' mean."""
    targets = targets.astype(np.float64)
    constant = np.square(targets - targets.mean(axis=0))
    gain = constant - np.square(targets - values)
    needed = SHOWN * gain.std(axis=0) / math.sqrt(len(targets))
    for i in np.flatnonzero(gain.mean(axis=0) <= needed):
        output = f"output {i + 1}: " if targets.shape[1] > 1 else ""
        error, of_mean = (math.sqrt(of[:, i].mean()) for of in (constant - gain, constant))
        yield (
            f"{output}the root mean square error of the {len(targets)} test rows, {error:.4g}, is not shown to be"
            f" better than that of always answering their mean, {of_mean:.4g}"
        )
