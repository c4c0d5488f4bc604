"""Compute all figures of an evaluation, by kind of answer and name."""

import math
from collections.abc import Iterable

import numpy as np

from service.engine.uncertainty import ClassUncertainty, RegressionUncertainty, entropy
from service.model.manifest import Manifest
from service.model.runtime import Array
from training.evidence.answers import Answers, uncertainty_scores
from training.evidence.glossary import BASELINE
from training.evidence.metrics import Figures, Float64, Int64
from training.evidence.metrics.classes import accuracy, balanced_accuracy, brier, ece, nll, right
from training.evidence.metrics.detection import auroc, auroc_of_ood
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
from training.evidence.reliability import interval_figures, set_figures, threshold_figures
from training.evidence.rows import row_weights

GAUSSIAN_COVERAGES = (0.8, 0.9, 0.95, 0.99)
"""Coverages of the intervals of normal distributions."""


def evaluate(answers: Answers, targets: Array, manifest: Manifest | None = None) -> Figures:
    """Return figures of the deterministic answers, of the mean over the samples and of a constant answer.

    Targets are classes (rows,), or a regression's values (rows, outputs). With a manifest, its sets, intervals and
    thresholds are applied to the rows, too. Figures that are not defined for these rows are left out.
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
        of_intervals = merge(interval_figures(deterministic, targets, each, answers.noise_std) for each in conformal)
        constant = {BASELINE: constant_values(targets.astype(np.float64))}
        return join(constant, found, {"deterministic": of_intervals})
    found = {"deterministic": figures(deterministic, targets), "mc": figures(uncertainty.mean, targets)}
    found["mc"]["mutual_information"] = float(uncertainty.mutual_information.mean())
    tried = {
        "deterministic": merge(set_figures(deterministic, targets, each) for each in conformal),
        "mc": merge(threshold_figures(uncertainty, targets, each) for each in abstention),
    }
    weighted = _weighted(answers, targets, manifest) if manifest and manifest.class_weights else {}
    constant = {BASELINE: constant_classes(targets, deterministic.shape[1])}
    return join(constant, found, weighted, _of_wrong(answers, targets), tried)


def evaluate_ood(test: Answers, ood: Answers, kind: str) -> Figures:
    """Return the AUROC of each uncertainty score for OOD rows of a kind among test rows, as `auroc_<kind>_<score>`."""
    of_ood = uncertainty_scores(ood)
    return {
        answer: {f"auroc_{kind}_{name}": auroc_of_ood(of, of_ood[answer][name]) for name, of in by.items()}
        for answer, by in uncertainty_scores(test).items()
    }


def constant_classes(targets: Int64, classes: int) -> dict[str, float]:
    """Return the figures of predicting the class frequencies, hence the commonest class, for all rows (rows,)."""
    frequencies = np.bincount(targets, minlength=classes) / len(targets)
    return figures(np.tile(frequencies, (len(targets), 1)), targets) | {"ece": 0.0}  # exactly; a sum rounds


def constant_values(targets: Array) -> dict[str, float]:
    """Return the figures of predicting the mean and standard deviation of each output for all rows (rows, outputs)."""
    mean, std = (np.broadcast_to(of, targets.shape) for of in (targets.mean(axis=0), targets.std(axis=0)))
    return errors(mean, targets) | {"nll": gaussian_nll(mean, std, targets), "crps": crps(mean, std, targets)}


def _weighted(answers: Answers, targets: Int64, manifest: Manifest) -> Figures:
    """Return the calibration error where classes are as frequent as in the weighted loss."""
    weights, both = (
        row_weights(manifest, targets),
        {"deterministic": answers.deterministic, "mc": answers.uncertainty.mean},
    )
    return {kind: {"ece_weighted": ece(values, targets, weights=weights)} for kind, values in both.items()}


def _of_wrong(answers: Answers, targets: Int64) -> Figures:
    """Return the AUROC of each uncertainty score for wrong answers among right ones."""
    wrong = {"deterministic": ~right(answers.deterministic, targets), "mc": ~right(answers.uncertainty.mean, targets)}
    return {
        answer: {f"auroc_wrong_{name}": auroc(wrong[answer], doubt) for name, doubt in by.items()}
        for answer, by in uncertainty_scores(answers).items()
    }


def figures(probabilities: Float64, targets: Int64) -> dict[str, float]:
    """Return the figures of probabilities (rows, classes) and class numbers (rows,), with entropy as uncertainty."""
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
    """Return the errors of a regression's values, both (rows, outputs)."""
    return {"rmse": rmse(values, targets), "mae": mae(values, targets)}


def selective_errors(uncertainty: RegressionUncertainty, targets: Array) -> dict[str, float]:
    """Return the risk-coverage figures of a regression, with the length of a row's total deviations as uncertainty."""
    losses = np.abs(uncertainty.mean - targets).mean(axis=1)
    doubt = np.linalg.norm(uncertainty.total_std, axis=1)
    return {"aurc_mae": aurc(losses, doubt), "excess_aurc_mae": excess_aurc(losses, doubt)}


def gaussian_figures(uncertainty: RegressionUncertainty, targets: Array) -> dict[str, float]:
    """Return figures of normal distributions with a regression's mean and total deviation; targets (rows, outputs)."""
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
    """Return all figures by kind and name, without those that are not finite."""
    kinds = dict.fromkeys(kind for part in parts for kind in part)
    joined = {kind: merge(part.get(kind, {}) for part in parts) for kind in kinds}
    return {kind: {name: value for name, value in by.items() if math.isfinite(value)} for kind, by in joined.items()}


def merge(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return all figures by name."""
    return {name: value for part in parts for name, value in part.items()}
