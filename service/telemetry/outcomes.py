"""The inputs and answers of requests, for metrics, logs, traces and the prediction log."""

from typing import NamedTuple

from service.engine.answers import Prediction, Sampled
from service.engine.decisions import Decision
from service.engine.sampling import Sampling
from service.engine.steps import Inputs
from service.engine.uncertainty import ClassUncertainty, Float64, Uncertainty


class Answered(NamedTuple):
    """The inputs and the answer of a request, for the prediction log."""

    inputs: Inputs
    prediction: Prediction
    uncertainty: Uncertainty | None = None
    decision: Decision | None = None


class Outcome(NamedTuple):
    """The figures of one answered request, for metrics, logs and traces."""

    rows: int
    passes: int = 0
    """The largest number of samples of a row; 0 for the deterministic answer."""
    seed: int | None = None
    predictive_entropy: Float64 | None = None
    """(rows,) in nats, for a classification."""
    mutual_information: Float64 | None = None
    """(rows,) in nats, for a classification."""
    accepted: int | None = None
    """Number of accepted rows, the others being referred; None if the model has no threshold."""
    answered: Answered | None = None


def describe(inputs: Inputs, sampling: Sampling, sampled: Sampled, decision: Decision | None) -> Outcome:
    """Return the outcome of an answer to `/uncertainty`."""
    answered = Answered(inputs, sampled.deterministic, sampled.uncertainty, decision)
    summary, rows, passes = sampled.uncertainty, len(sampled.passes), max(sampled.passes.tolist())
    if (
        not isinstance(summary, ClassUncertainty) or sampling.changes_network
    ):  # a changed network tells nothing about drift
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
