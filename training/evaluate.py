"""A model's answers and the truth → figures. Metrics are pure functions of numpy arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine import Engine
from service.runtime import Array
from service.sampling import Sampling
from service.steps import Inputs
from service.uncertainty import ClassUncertainty, Float64, RegressionUncertainty, Uncertainty

Int64 = NDArray[np.int64]

BINS = 15


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's answers to some rows."""

    deterministic: Float64
    """(rows, outputs): probabilities of the classes, or a regression's values, without dropout."""
    uncertainty: Uncertainty
    """Of an ensemble of thinned networks."""


def ask(engine: Engine, inputs: Inputs, passes: int, seed: int) -> Answers:
    """What the engine would serve."""
    sampled = engine.sample(inputs, Sampling(passes, seed))
    return Answers(sampled.deterministic.values, sampled.uncertainty)


def evaluate(answers: Answers, targets: Array) -> dict[str, dict[str, float]]:
    """Figures of the deterministic answers and of the mean over the passes, by kind of answer and name.

    Targets are classes (rows,), or a regression's values (rows, outputs).
    """
    if isinstance(answers.uncertainty, ClassUncertainty):
        mc = figures(answers.uncertainty.mean, targets)
        mc["mutual_information"] = float(answers.uncertainty.mutual_information.mean())
        return {"deterministic": figures(answers.deterministic, targets), "mc": mc}
    mc = errors(answers.uncertainty.mean, targets)
    if (answers.uncertainty.total_std > 0).all():
        mc["nll"] = gaussian_nll(answers.uncertainty, targets)
    return {"deterministic": errors(answers.deterministic, targets), "mc": mc}


def errors(values: Float64, targets: Array) -> dict[str, float]:
    """Of a regression: root mean square and mean absolute error over all rows and outputs, both (rows, outputs)."""
    difference = values - targets
    return {"rmse": float(np.sqrt(np.square(difference).mean())), "mae": float(np.abs(difference).mean())}


def gaussian_nll(uncertainty: RegressionUncertainty, targets: Array) -> float:
    """Mean negative log density of the truth under normal distributions of the mean and total deviation, in nats."""
    variance = np.square(uncertainty.total_std)
    return float((np.log(2 * np.pi * variance) + np.square(targets - uncertainty.mean) / variance).mean() / 2)


def figures(probabilities: Float64, targets: Int64) -> dict[str, float]:
    """All of the below, by name. Probabilities are (rows, classes), targets (rows,) numbers of classes."""
    return {
        "accuracy": accuracy(probabilities, targets),
        "nll": nll(probabilities, targets),
        "brier": brier(probabilities, targets),
        "ece": ece(probabilities, targets),
    }


def accuracy(probabilities: Float64, targets: Int64) -> float:
    """Share of the rows whose most probable class is the true one."""
    return float((probabilities.argmax(axis=1) == targets).mean())


def nll(probabilities: Float64, targets: Int64) -> float:
    """Mean negative log probability of the true class, in nats."""
    truth = of_truth(probabilities, targets)
    return float(-np.log(np.maximum(truth, np.finfo(np.float64).tiny)).mean())


def brier(probabilities: Float64, targets: Int64) -> float:
    """Squared distance from the truth, summed over the classes: 0 to 2 (Brier 1950)."""
    one_hot = np.eye(probabilities.shape[1])[targets]
    return float(np.square(probabilities - one_hot).sum(axis=1).mean())


def ece(probabilities: Float64, targets: Int64, bins: int = BINS) -> float:
    """Expected calibration error: mean gap of confidence and accuracy, in bins of equal width (Guo et al. 2017)."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == targets
    bin_of_row = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)  # bins are (low, high]
    gaps = np.bincount(bin_of_row, weights=correct - confidence, minlength=bins)  # rows in bin × gap
    return float(np.abs(gaps).sum() / len(targets))


def of_truth(probabilities: Float64, targets: Int64) -> Float64:
    """The probability of each row's true class: (rows,)."""
    return probabilities[np.arange(len(targets)), targets]
