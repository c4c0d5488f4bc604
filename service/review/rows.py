"""What is kept of an answer: a row of a table for each row that was asked about."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, repeat
from typing import Any, NamedTuple

import numpy as np

from service.api.replies import answer_rows, encode, sent_rows
from service.engine.answers import Prediction
from service.engine.uncertainty import Float64, join_rows
from service.model.manifest import Manifest
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
    """JSON: an entry of `predictions`, as `schemas.PredictReply` or `schemas.UncertaintyReply` has it."""
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


def to_rows(events: Iterable[Event], *, keep_inputs: bool) -> Iterator[Row]:
    """The rows of requests, in their order; those of like requests are made together, which is several times faster."""
    for _, alike in groupby(events, _kind):
        yield from _rows_of(list(alike), keep_inputs=keep_inputs)


def _kind(event: Event) -> tuple[object, ...]:
    """Answers of the same kind have the same arrays."""
    answered, outcome = event.answered, event.outcome
    given = (answered.uncertainty, answered.decision, outcome.predictive_entropy, outcome.mutual_information)
    return id(event.manifest), *(one is None for one in given)


def _rows_of(events: Sequence[Event], *, keep_inputs: bool) -> Iterator[Row]:
    manifest, answers = events[0].manifest, iter(_answers(events))
    inputs = iter(_inputs(events)) if keep_inputs else repeat(None)
    for event in events:
        outcome, rows = event.outcome, event.outcome.rows
        numbers = zip(
            _listed(outcome.predictive_entropy, rows),
            _listed(outcome.mutual_information, rows),
            _decisions(event),
            strict=True,
        )
        for row, (entropy, information, decision) in enumerate(numbers):
            yield Row(
                id=f"{event.id}-{row}",
                time=event.time,
                request_id=event.request_id,
                route=event.route,
                model=manifest.name,
                version=manifest.version,
                row=row,
                inputs=encode(next(inputs)).decode() if keep_inputs else None,
                answer=encode(next(answers)).decode(),
                samples=outcome.passes,
                seed=outcome.seed,
                predictive_entropy=entropy,
                mutual_information=information,
                decision=decision,
            )


def _inputs(events: Sequence[Event]) -> Sequence[Any]:
    """Of all rows, as callers write them."""
    arrays = [event.answered.inputs for event in events]
    return sent_rows({name: np.concatenate([each[name] for each in arrays]) for name in arrays[0]}, events[0].manifest)


def _answers(events: Sequence[Event]) -> Sequence[Any]:
    """Of all rows, as entries of `predictions`."""
    predictions = [event.answered.prediction for event in events]
    noise: list[Any] = [prediction.noise_std for prediction in predictions]
    joined = Prediction(
        np.concatenate([prediction.values for prediction in predictions]),
        None if noise[0] is None else np.concatenate(noise),
    )
    uncertainties: list[Any] = [event.answered.uncertainty for event in events]
    return answer_rows(events[0].manifest, joined, None if uncertainties[0] is None else join_rows(uncertainties))


def _listed(values: Float64 | None, rows: int) -> Sequence[float | None]:
    return [None] * rows if values is None else values.tolist()


def _decisions(event: Event) -> Sequence[str | None]:
    decision = event.answered.decision
    if decision is None:
        return [None] * event.outcome.rows
    return ["accept" if accepted else "refer" for accepted in decision.accepted.tolist()]
