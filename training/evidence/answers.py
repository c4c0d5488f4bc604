"""The answers of a model to some rows, and the uncertainty of each."""

from dataclasses import dataclass

import numpy as np

from service.engine.engine import Engine
from service.engine.inputs import Inputs
from service.engine.sampling import Sampling
from service.engine.uncertainty import ClassUncertainty, Uncertainty, entropy
from training.evidence.metrics import Float64


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of a model to some rows."""

    deterministic: Float64
    """(rows, outputs): probabilities of the classes, or a regression's values, of the deterministic pass."""
    uncertainty: Uncertainty
    """Mean and uncertainty over the samples."""
    noise_std: Float64 | None = None
    """(rows, outputs): the observation noise that the deterministic pass predicts; None unless it is learned."""


def compute_answers(engine: Engine, inputs: Inputs, passes: int, seed: int) -> Answers:
    """Return the answers that the service would give, with `passes` samples from `seed`."""
    sampled = engine.sample(inputs, Sampling(passes, seed))
    return Answers(sampled.deterministic.values, sampled.uncertainty, sampled.deterministic.noise_std)


def uncertainty_scores(answers: Answers) -> dict[str, dict[str, Float64]]:
    """Return scores (rows,) by kind of answer and measure; a higher one is a less certain answer.

    A regression has one: the length of the vector of its outputs' standard deviations over the samples.
    """
    uncertainty = answers.uncertainty
    if not isinstance(uncertainty, ClassUncertainty):
        return {"mc": {"std": np.linalg.norm(uncertainty.epistemic_std, axis=1)}}
    return {
        "deterministic": {
            "entropy": entropy(answers.deterministic),
            "confidence": 1 - answers.deterministic.max(axis=1),
        },
        "mc": {
            "entropy": uncertainty.predictive_entropy,
            "confidence": 1 - uncertainty.mean.max(axis=1),
            "mutual_information": uncertainty.mutual_information,
        },
    }
