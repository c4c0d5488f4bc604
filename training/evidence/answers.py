"""What a model answers to some rows, and how unsure it is of each answer."""

from dataclasses import dataclass

import numpy as np

from service.engine.engine import Engine
from service.engine.sampling import Sampling
from service.engine.steps import Inputs
from service.engine.uncertainty import ClassUncertainty, Uncertainty, entropy
from training.evidence.metrics import Float64


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's answers to some rows."""

    deterministic: Float64
    """(rows, outputs): probabilities of the classes, or a regression's values, without dropout."""
    uncertainty: Uncertainty
    """Of an ensemble of thinned networks."""
    noise_std: Float64 | None = None
    """Of a regression whose noise is learned, what the network without dropout tells of it: (rows, outputs)."""


def ask(engine: Engine, inputs: Inputs, passes: int, seed: int) -> Answers:
    """What the engine would serve."""
    sampled = engine.sample(inputs, Sampling(passes, seed))
    return Answers(sampled.deterministic.values, sampled.uncertainty, sampled.deterministic.noise_std)


def doubts(answers: Answers) -> dict[str, dict[str, Float64]]:
    """How unsure each row's answer is, (rows,), by kind of answer and measure; more is less sure.

    Of a regression there is but one: the length of the vector of its outputs' deviations over the passes.
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
