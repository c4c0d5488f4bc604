"""Scores of answers: accuracy of classes, root mean square error of a regression, and NLL of both."""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from service.model.manifest import Manifest, Noise
from service.model.runtime import Array
from training.data import Dataset
from training.evidence.metrics import Float64
from training.evidence.metrics.classes import nll


class Score(NamedTuple):
    """The score of a task."""

    name: str
    sign: int
    """1 where more is better, -1 where less is."""
    much: float
    """The smallest relevant difference."""
    spread: float
    """Standard deviation of a regression's target, the unit of its errors; 1 for classes."""

    def of(self, values: Array, targets: Array) -> Float64:
        """Return the score (…,) of values (…, rows, outputs); targets are classes (rows,) or values (rows, outputs)."""
        if targets.ndim == 1:
            return np.asarray((values.argmax(axis=-1) == targets).mean(axis=-1))
        errors = (values[..., : targets.shape[1]].astype(np.float64) - targets) / self.spread
        return np.asarray(np.sqrt(np.square(errors).mean(axis=(-1, -2))))

    def lost(self, before: Float64, after: Float64) -> Float64:
        """Return the loss of score, above 0 where it got worse."""
        return np.asarray(self.sign * (before - after))

    def wrong(self, values: Array, targets: Array) -> Float64:
        """Return 1 for a wrong class, else 0, or the absolute error in this unit: (rows,)."""
        if targets.ndim == 1:
            return np.asarray(values.argmax(axis=-1) != targets, dtype=np.float64)
        return np.asarray(np.abs(values[:, : targets.shape[1]] - targets).mean(axis=1) / self.spread)


ACCURACY = Score("accuracy", 1, 0.01, 1.0)


def score_of(data: Dataset) -> Score:
    """Return accuracy, with a relevant difference of 0.01, or RMSE in deviations of the target, with 0.02."""
    if data.labels:
        return ACCURACY
    return Score("relative RMSE", -1, 0.02, float(data.targets.std()) or 1.0)


def ensemble_nll(samples: Float64, targets: Array, manifest: Manifest) -> float:
    """Return the NLL of the equal mixture of samples (passes, rows, outputs), in nats a row.

    Samples are probabilities, or for a regression normal densities with the model's noise; NaN without noise.
    """
    if targets.ndim == 1:
        return nll(samples.mean(axis=0), targets.astype(np.int64))
    outputs = targets.shape[1]
    known = manifest.noise.std if isinstance(manifest.noise, Noise) else np.nan
    noise = samples[..., outputs:] if manifest.noise_is_learned else known
    density = norm.logpdf(targets, samples[..., :outputs], noise).sum(axis=-1)  # (passes, rows)
    return float(-(logsumexp(density, axis=0) - np.log(len(samples))).mean())
