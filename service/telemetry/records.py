"""The record of a request over any protocol and of its answer, for metrics, logs, traces and the prediction log."""

import itertools
import re
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import msgspec

from service.engine.answers import Prediction
from service.engine.decisions import Decision
from service.engine.inputs import Inputs
from service.engine.stages import Stopwatch
from service.engine.uncertainty import ClassUncertainty, Float64, Uncertainty
from service.inference import Answer
from service.model.manifest import Manifest

OTHER = "other"
"""The route of unknown paths, so that callers cannot create labels of metrics."""
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
NEW_ID = b"%s%%08x" % secrets.token_hex(4).encode()
NUMBERS = itertools.count()
EXPLORATORY = b"dropserve-exploratory"
"""The header of requests with invented rows."""


class Answered(NamedTuple):
    """The inputs and the answer of a request, for the prediction log."""

    inputs: Inputs
    prediction: Prediction
    uncertainty: Uncertainty | None = None
    decision: Decision | None = None


class Outcome(msgspec.Struct):
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
    answered: Callable[[], Answered] | None = None
    """Return the inputs and the answer, for the prediction log."""


class Record:
    """The record of one request over HTTP, or over gRPC, whose calls are HTTP requests too."""

    __slots__ = (
        "caller",
        "headers",
        "manifest",
        "method",
        "outcome",
        "path",
        "request_id",
        "route",
        "started",
        "status",
        "watch",
    )

    def __init__(self, method: str, path: str, headers: Mapping[bytes, bytes], watch: Stopwatch | None = None) -> None:
        """Begin the record of a request; names of headers are in lower case."""
        self.method = method
        self.path = path
        self.headers = headers
        given = headers.get(b"x-request-id")
        self.request_id = given if given and REQUEST_ID.fullmatch(given) else NEW_ID % next(NUMBERS)
        """The caller's own id if it is valid, or a new one of this process's token and a number."""
        self.watch = watch or Stopwatch()
        self.started = self.watch.started
        self.status = 0
        """The HTTP status; 0 until the request is answered."""
        self.route = OTHER
        self.caller: str | None = None
        """The name of the API key used."""
        self.manifest: Manifest | None = None
        """The manifest of the model, once it is known."""
        self.outcome: Outcome | None = None
        """The answer's figures."""

    @property
    def exploratory(self) -> bool:
        """Whether its rows are invented, so that metrics of the data leave them out."""
        return self.headers.get(EXPLORATORY) == b"1"


def describe(answer: Answer, rows: slice) -> Outcome:
    """Return the figures of the answer for these rows."""
    count, answered = rows.stop - rows.start, partial(_take, answer, rows)
    if answer.sampled is None:
        return Outcome(count, answered=answered)
    sampling, sampled = answer.sampling
    passes, summary = answer.most_passes(rows), sampled.uncertainty
    if not isinstance(summary, ClassUncertainty) or sampling.changes_network:  # whose drift means nothing
        return Outcome(count, passes, sampling.seed, answered=answered)
    return Outcome(
        count,
        passes,
        sampling.seed,
        summary.predictive_entropy[rows],
        summary.mutual_information[rows],
        answer.count_accepted(rows),
        answered,
    )


def _take(answer: Answer, rows: slice) -> Answered:
    answer = answer.take(rows)
    summary = answer.sampled.uncertainty if answer.sampled else None
    return Answered(answer.inputs, answer.prediction, summary, answer.decision)
