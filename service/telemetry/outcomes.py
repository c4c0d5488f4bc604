"""What a model was asked and what it answered, in numbers: for whoever counts, logs or traces requests."""

from typing import NamedTuple

from service.decisions import accept, choose_threshold
from service.engine import Sampled
from service.manifest import Manifest
from service.sampling import Sampling
from service.uncertainty import ClassUncertainty, Float64


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


def describe(manifest: Manifest, sampling: Sampling, sampled: Sampled, error_rate: float | None = None) -> Outcome:
    """What an answer to `/uncertainty` comes to; raises InvalidInput for an error rate that the model has not."""
    summary, rows = sampled.uncertainty, len(sampled.passes)
    outcome = Outcome(rows, int(sampled.passes.max()), sampling.seed)
    if not isinstance(summary, ClassUncertainty) or sampling.changes_network:  # a "what if" says nothing of drift
        return outcome
    outcome = outcome._replace(
        predictive_entropy=summary.predictive_entropy, mutual_information=summary.mutual_information
    )
    if threshold := choose_threshold(manifest, error_rate):
        outcome = outcome._replace(accepted=int(accept(summary.predictive_entropy, threshold).sum()))
    return outcome
