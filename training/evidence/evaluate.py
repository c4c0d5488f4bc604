"""A model's answers and the truth → all figures of an evaluation, by kind of answer and name."""

import math
from collections.abc import Iterable

import numpy as np

from service.engine.uncertainty import ClassUncertainty, RegressionUncertainty, entropy
from service.model.manifest import Manifest
from service.model.runtime import Array
from training.evidence.answers import Answers, ask, doubts
from training.evidence.decided import of_interval, of_set, of_threshold
from training.evidence.glossary import BASELINE
from training.evidence.metrics import Float64, Int64
from training.evidence.metrics.classes import accuracy, balanced_accuracy, brier, ece, nll, of_truth, right
from training.evidence.metrics.detection import auroc, auroc_of_strange
from training.evidence.metrics.selective import aurc, excess_aurc
from training.evidence.metrics.values import (
    crps,
    error_correlation,
    gaussian_half_width,
    gaussian_nll,
    interval_coverage,
    mae,
    rmse,
)

__all__ = ["Answers", "ask", "doubts", "errors", "evaluate", "evaluate_strange", "figures", "gaussian_figures", "join"]
__all__ += ["row_weights"]
__all__ += [
    "Int64",
    "accuracy",
    "brier",
    "ece",
    "nll",
    "of_truth",
]  # for modules that fit by them

Figures = dict[str, dict[str, float]]
"""By kind of answer, baseline, deterministic or mc, and name."""

GAUSSIAN_COVERAGES = (0.8, 0.9, 0.95, 0.99)


def evaluate(answers: Answers, targets: Array, manifest: Manifest | None = None) -> Figures:
    """Figures of the deterministic answers, of the mean over the passes and of a constant answer, by kind and name.

    Targets are classes (rows,), or a regression's values (rows, outputs). The sets, intervals and thresholds of
    the manifest are tried on the rows, too. What the rows cannot tell is left out.
    """
    conformal, abstention = (manifest.conformal, manifest.abstention) if manifest else ((), ())
    uncertainty, deterministic = answers.uncertainty, answers.deterministic
    if not isinstance(uncertainty, ClassUncertainty):
        found = {
            "deterministic": errors(deterministic, targets),
            "mc": errors(uncertainty.mean, targets)
            | gaussian_figures(uncertainty, targets)
            | selective_errors(uncertainty, targets),
        }
        of_intervals = merge(of_interval(deterministic, targets, each, answers.noise_std) for each in conformal)
        constant = {BASELINE: constant_values(targets.astype(np.float64))}
        return join(constant, found, {"deterministic": of_intervals})
    found = {"deterministic": figures(deterministic, targets), "mc": figures(uncertainty.mean, targets)}
    found["mc"]["mutual_information"] = float(uncertainty.mutual_information.mean())
    tried = {
        "deterministic": merge(of_set(deterministic, targets, each) for each in conformal),
        "mc": merge(of_threshold(uncertainty, targets, each) for each in abstention),
    }
    weighted = _weighted(answers, targets, manifest) if manifest and manifest.class_weights else {}
    constant = {BASELINE: constant_classes(targets, deterministic.shape[1])}
    return join(constant, found, weighted, _of_wrong(answers, targets), tried)


def evaluate_strange(usual: Answers, strange: Answers, kind: str) -> Figures:
    """How well strange rows of that kind are told from usual ones by doubt, as `auroc_<kind>_<doubt>`."""
    of_strange = doubts(strange)
    return {
        answer: {f"auroc_{kind}_{name}": auroc_of_strange(of, of_strange[answer][name]) for name, of in by.items()}
        for answer, by in doubts(usual).items()
    }


def constant_classes(targets: Int64, classes: int) -> dict[str, float]:
    """Of answering all rows (rows,) with the frequencies of the classes, and so with the commonest."""
    frequencies = np.bincount(targets, minlength=classes) / len(targets)
    return figures(np.tile(frequencies, (len(targets), 1)), targets) | {"ece": 0.0}  # which sums do not give exactly


def constant_values(targets: Array) -> dict[str, float]:
    """Of answering all rows (rows, outputs) with the mean and standard deviation of each output."""
    mean, std = (np.broadcast_to(of, targets.shape) for of in (targets.mean(axis=0), targets.std(axis=0)))
    return errors(mean, targets) | {"nll": gaussian_nll(mean, std, targets), "crps": crps(mean, std, targets)}


def row_weights(manifest: Manifest, targets: Int64) -> Float64 | None:
    """Weight of each row (rows,) by that of its class; None where all weigh the same."""
    return np.array(manifest.class_weights)[targets] if manifest.class_weights else None


def _weighted(answers: Answers, targets: Int64, manifest: Manifest) -> Figures:
    """How honest probabilities are where classes are as frequent as the weighted loss has them."""
    weights, both = (
        row_weights(manifest, targets),
        {"deterministic": answers.deterministic, "mc": answers.uncertainty.mean},
    )
    return {kind: {"ece_weighted": ece(values, targets, weights=weights)} for kind, values in both.items()}


def _of_wrong(answers: Answers, targets: Int64) -> Figures:
    """How well wrong answers are told from right ones by doubt."""
    wrong = {"deterministic": ~right(answers.deterministic, targets), "mc": ~right(answers.uncertainty.mean, targets)}
    return {
        answer: {f"auroc_wrong_{name}": auroc(wrong[answer], doubt) for name, doubt in by.items()}
        for answer, by in doubts(answers).items()
    }


def figures(probabilities: Float64, targets: Int64) -> dict[str, float]:
    """Of probabilities (rows, classes) and targets (rows,), numbers of classes. Rows are doubted by their entropy."""
    wrong, doubt = ~right(probabilities, targets), entropy(probabilities)
    return {
        "accuracy": accuracy(probabilities, targets),
        "balanced_accuracy": balanced_accuracy(probabilities, targets),
        "nll": nll(probabilities, targets),
        "brier": brier(probabilities, targets),
        "ece": ece(probabilities, targets),
        "aurc": aurc(wrong, doubt),
        "excess_aurc": excess_aurc(wrong, doubt),
    }


def errors(values: Float64, targets: Array) -> dict[str, float]:
    """Of a regression's values, both (rows, outputs)."""
    return {"rmse": rmse(values, targets), "mae": mae(values, targets)}


def selective_errors(uncertainty: RegressionUncertainty, targets: Array) -> dict[str, float]:
    """Of answering only the rows doubted least: by the length of the vector of a row's total deviations."""
    losses = np.abs(uncertainty.mean - targets).mean(axis=1)
    doubt = np.linalg.norm(uncertainty.total_std, axis=1)
    return {"aurc_mae": aurc(losses, doubt), "excess_aurc_mae": excess_aurc(losses, doubt)}


def gaussian_figures(uncertainty: RegressionUncertainty, targets: Array) -> dict[str, float]:
    """Of normal distributions with the mean and total deviation of a regression; targets (rows, outputs)."""
    mean, std = uncertainty.mean, uncertainty.total_std
    found = {
        "nll": gaussian_nll(mean, std, targets),
        "crps": crps(mean, std, targets),
        "error_correlation": error_correlation(mean, std, targets),
    }
    for coverage in GAUSSIAN_COVERAGES:
        half_width = gaussian_half_width(std, coverage)
        found[f"coverage_{coverage:g}"] = interval_coverage(mean, half_width, targets)
        found[f"width_{coverage:g}"] = float(2 * half_width.mean())
    return found


def join(*parts: Figures) -> Figures:
    """All of them by kind and name, but what is not a finite number."""
    kinds = dict.fromkeys(kind for part in parts for kind in part)
    joined = {kind: merge(part.get(kind, {}) for part in parts) for kind in kinds}
    return {kind: {name: value for name, value in by.items() if math.isfinite(value)} for kind, by in joined.items()}


def merge(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    """All of them by name."""
    return {name: value for part in parts for name, value in part.items()}
