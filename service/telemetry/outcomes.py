"""The inputs and answers of requests, for metrics, logs, traces and the prediction log."""

from typing import NamedTuple

from service.engine.answers import Prediction
from service.engine.decisions import Decision
from service.engine.inputs import Inputs
from service.engine.uncertainty import ClassUncertainty, Float64, Uncertainty
from service.inference import Answer


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


def describe(answer: Answer) -> Outcome:
    """Return the figures of an answer."""
    inputs, sampled, sampling = answer.request.inputs, answer.sampled, answer.request.sampling
    if sampled is None or sampling is None:
        return Outcome(len(answer.prediction.values), answered=Answered(inputs, answer.prediction))
    decision, summary, rows = answer.decision, sampled.uncertainty, len(sampled.passes)
    passes = sampled.most_passes
    answered = Answered(inputs, answer.prediction, summary, decision)
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
