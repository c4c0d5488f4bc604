"""How good answers are: accuracy of classes, root mean square error of a regression, and NLL of both."""

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
    """Of a task."""

    name: str
    sign: int
    """1 where more is better, -1 where less is."""
    much: float
    """A difference that matters."""
    spread: float
    """Standard deviation of a regression's target, the unit of its errors; of classes 1."""

    def of(self, values: Array, targets: Array) -> Float64:
        """Values (…, rows, outputs) → (…,); targets classes (rows,) or a regression's values (rows, outputs)."""
        if targets.ndim == 1:
            return np.asarray((values.argmax(axis=-1) == targets).mean(axis=-1))
        errors = (values[..., : targets.shape[1]].astype(np.float64) - targets) / self.spread
        return np.asarray(np.sqrt(np.square(errors).mean(axis=(-1, -2))))

    def lost(self, before: Float64, after: Float64) -> Float64:
        """Above 0 where it got worse."""
        return np.asarray(self.sign * (before - after))

    def wrong(self, values: Array, targets: Array) -> Float64:
        """(rows,): 1 where the class is wrong, else 0; of a regression the absolute error in its unit."""
        if targets.ndim == 1:
            return np.asarray(values.argmax(axis=-1) != targets, dtype=np.float64)
        return np.asarray(np.abs(values[:, : targets.shape[1]] - targets).mean(axis=1) / self.spread)


ACCURACY = Score("accuracy", 1, 0.01, 1.0)


def score_of(data: Dataset) -> Score:
    """Accuracy, of which one point matters; or RMSE in deviations of the target, of which 0.02 does."""
    if data.labels:
        return ACCURACY
    return Score("relative RMSE", -1, 0.02, float(data.targets.std()) or 1.0)


def ensemble_nll(samples: Float64, targets: Array, manifest: Manifest) -> float:
    """Of the equal mixture of passes (passes, rows, outputs), in nats a row: probabilities of classes; of a regression
    normal densities with the noise that the model has. NaN where it has none.
    """
    if targets.ndim == 1:
        return nll(samples.mean(axis=0), targets.astype(np.int64))
    outputs = targets.shape[1]
    known = manifest.noise.std if isinstance(manifest.noise, Noise) else np.nan
    noise = samples[..., outputs:] if manifest.noise_is_learned else known
    density = norm.logpdf(targets, samples[..., :outputs], noise).sum(axis=-1)  # (passes, rows)
    return float(-(logsumexp(density, axis=0) - np.log(len(samples))).mean())
