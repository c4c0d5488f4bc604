"""The tables of the prediction log: one entry per row of a request, and one per label."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, repeat
from typing import Any, NamedTuple

import numpy as np

from service.api.replies import answer_rows, encode, sent_rows
from service.engine.answers import Prediction
from service.engine.uncertainty import Float64, join_rows
from service.model.manifest import Manifest
from service.telemetry.records import Answered, Outcome


class Row(NamedTuple):
    """A row of a request, and its answer."""

    id: str
    """A unique identifier."""
    time: float
    """Time of the answer, in seconds since 1970, UTC."""
    request_id: str
    route: str
    """The route of the request, as in the metrics."""
    model: str
    version: int
    row: int
    """The row's number in the request, from 0."""
    inputs: str | None
    """JSON of the row, as in a request; None if inputs are not logged."""
    answer: str
    """JSON of the entry of `predictions` in `schemas.PredictReply` or `schemas.UncertaintyReply`."""
    samples: int
    """The largest number of samples of the request's rows; 0 for the deterministic answer."""
    seed: int | None
    predictive_entropy: float | None
    mutual_information: float | None
    """Both in nats; None for regressions, deterministic answers, and requests that change the network."""
    decision: str | None
    """accept or refer; None if the model has no threshold."""


class Label(NamedTuple):
    """A person's label of a row."""

    prediction: str
    """The row's id."""
    label: str
    """JSON of the name of a class, or for a regression of a list of numbers."""
    by: str | None
    """The person named in the request."""
    key: str | None
    """The name of the API key used."""
    time: float
    """Time of the label, in seconds since 1970, UTC."""


class Event(NamedTuple):
    """An answered request in the queue to the store."""

    id: str
    time: float
    request_id: str
    route: str
    manifest: Manifest
    outcome: Outcome
    answered: Answered
    size: int
    """Approximate memory in bytes."""


def to_rows(events: Iterable[Event], *, keep_inputs: bool) -> Iterator[Row]:
    """Yield the rows of requests, in order; those of similar requests are encoded together, which is much faster."""
    for _, alike in groupby(events, _kind):
        yield from _rows_of(list(alike), keep_inputs=keep_inputs)


def _kind(event: Event) -> tuple[object, ...]:
    """Return a key that is equal for requests whose answers have the same arrays."""
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
    """Return all rows, as in requests."""
    arrays = [event.answered.inputs for event in events]
    return sent_rows({name: np.concatenate([each[name] for each in arrays]) for name in arrays[0]}, events[0].manifest)


def _answers(events: Sequence[Event]) -> Sequence[Any]:
    """Return the answers of all rows, as entries of `predictions`."""
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
