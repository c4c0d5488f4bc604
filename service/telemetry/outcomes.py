"""What a model was asked and what it answered, in numbers: for whoever counts, logs or traces requests."""

from typing import NamedTuple

from service.engine.answers import Prediction, Sampled
from service.engine.decisions import Decision
from service.engine.sampling import Sampling
from service.engine.steps import Inputs
from service.engine.uncertainty import ClassUncertainty, Float64, Uncertainty


class Answered(NamedTuple):
    """A question and its answer themselves, for whoever keeps them."""

    inputs: Inputs
    prediction: Prediction
    uncertainty: Uncertainty | None = None
    decision: Decision | None = None


class Outcome(NamedTuple):
    """Of one answered request."""

    rows: int
    passes: int = 0
    """The most that any row was asked; 0 for the deterministic answer."""
    seed: int | None = None
    predictive_entropy: Float64 | None = None
    """(rows,), of a classification."""
    mutual_information: Float64 | None = None
    """(rows,), of a classification."""
    accepted: int | None = None
    """How many rows were accepted, the others being referred; None where the model has no threshold."""
    answered: Answered | None = None


def describe(inputs: Inputs, sampling: Sampling, sampled: Sampled, decision: Decision | None) -> Outcome:
    """What an answer to `/uncertainty` comes to."""
    answered = Answered(inputs, sampled.deterministic, sampled.uncertainty, decision)
    summary, rows, passes = sampled.uncertainty, len(sampled.passes), max(sampled.passes.tolist())
    if not isinstance(summary, ClassUncertainty) or sampling.changes_network:  # a "what if" says nothing of drift
        return Outcome(rows, passes, sampling.seed, answered=answered)
    return Outcome(
        rows,
        passes,
        sampling.seed,
        summary.predictive_entropy,
        summary.mutual_information,
        None if decision is None else sum(decision.accepted.tolist()),
        answered,
    )
