"""What is kept of an answer: a row of a table for each row that was asked about."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from service.api.replies import answer_rows, encode, sent_rows
from service.manifest import Manifest
from service.telemetry.outcomes import Answered, Outcome


class Row(NamedTuple):
    """One row that was asked about, and its answer."""

    id: str
    """Of its own, and never that of another row."""
    time: float
    """When it was answered: seconds since 1970, UTC."""
    request_id: str
    route: str
    """As the metrics name it, whatever model was asked."""
    model: str
    version: int
    row: int
    """Its number in the request."""
    inputs: str | None
    """JSON, as callers write a row; None where inputs are not kept."""
    answer: str
    """JSON: an entry of `predictions`, as `schemas.Predictions` or `schemas.Uncertainties` has it."""
    samples: int
    """Passes that the request was answered with at most; 0: without dropout."""
    seed: int | None
    predictive_entropy: float | None
    mutual_information: float | None
    """Both in nats; None of regressions, of answers without dropout, and of «what if» questions."""
    decision: str | None
    """accept or refer; None where the model has no threshold."""


class Label(NamedTuple):
    """What a person says of a row."""

    prediction: str
    """The row's id."""
    label: str
    """JSON: the name of a class, or of a regression a list of numbers."""
    by: str | None
    """Who, in the words of the request."""
    key: str | None
    """The name of the API key that was shown."""
    time: float


class Event(NamedTuple):
    """A request that was answered, on its way to the store."""

    id: str
    time: float
    request_id: str
    route: str
    manifest: Manifest
    outcome: Outcome
    answered: Answered
    size: int
    """Bytes that it holds, about."""


def to_rows(event: Event, *, keep_inputs: bool) -> Iterator[Row]:
    """The rows of a request, in their order."""
    manifest, outcome, answered = event.manifest, event.outcome, event.answered
    count = outcome.rows
    inputs: Sequence[object] = sent_rows(answered.inputs, manifest) if keep_inputs else [None] * count
    answers = answer_rows(manifest, answered.prediction, answered.uncertainty)
    entropies = [None] * count if outcome.predictive_entropy is None else outcome.predictive_entropy.tolist()
    information = [None] * count if outcome.mutual_information is None else outcome.mutual_information.tolist()
    decisions = _decisions(answered, count)
    for row in range(count):
        yield Row(
            id=f"{event.id}-{row}",
            time=event.time,
            request_id=event.request_id,
            route=event.route,
            model=manifest.name,
            version=manifest.version,
            row=row,
            inputs=encode(inputs[row]).decode() if keep_inputs else None,
            answer=encode(answers[row]).decode(),
            samples=outcome.passes,
            seed=outcome.seed,
            predictive_entropy=entropies[row],
            mutual_information=information[row],
            decision=decisions[row],
        )


def _decisions(answered: Answered, rows: int) -> Sequence[str | None]:
    if answered.decision is None:
        return [None] * rows
    return ["accept" if accepted else "refer" for accepted in answered.decision.accepted.tolist()]
