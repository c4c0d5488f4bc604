"""The use case of the service: answer a request to an engine.

HTTP, the Open Inference Protocol, the shell, bulk scoring and the documentation's examples decode to a request, call
`infer` and encode the answer. A request is planned (limits, what to sample), run by the engine, and decided.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from service.api.requests import UncertaintyRequest, plan_sampling
from service.config import Settings
from service.engine.answers import Prediction, Sampled
from service.engine.decisions import Decision, decide
from service.engine.engine import Engine
from service.engine.inputs import Inputs, count_rows, join_inputs, take
from service.engine.job import Estimate, Job
from service.engine.sampling import Sampling
from service.rows.unchecked import UncheckedRows

T = TypeVar("T")


class Request(msgspec.Struct, frozen=True):
    """Rows for a model, and how to sample its thinned networks; without a sampling, for the deterministic answer."""

    engine: Engine
    inputs: Inputs | UncheckedRows
    sampling: Sampling | None = None
    error_rate: float | None = None
    """The error rate of the abstention threshold; None: the model's own choice."""

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.inputs.count if isinstance(self.inputs, UncheckedRows) else count_rows(self.inputs)

    @property
    def kind(self) -> Hashable:
        """A key that is equal for requests whose rows can share a run."""
        of_rows = self.inputs.kind if isinstance(self.inputs, UncheckedRows) else None
        return self.engine, self.sampling, self.error_rate, of_rows

    def estimate(self) -> Estimate:
        """Return the estimated time of the engine."""
        return self.engine.estimate(self.rows, self.sampling)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request."""

    request: Request
    prediction: Prediction
    """The deterministic answer."""
    sampled: Sampled | None = None
    """The samples, if requested."""
    decision: Decision | None = None
    """The rows to accept; None without a threshold."""
    _shared: dict[Hashable, Any] = field(default_factory=dict)

    def share(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returned at the first call with this key, for the encoders of the answer."""
        shared: T | None = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = make()
        return shared

    def take(self, rows: slice) -> "Answer":
        """Return the answer for these rows."""
        if rows == slice(0, self.request.rows):
            return self
        request = replace(self.request, inputs=take(self.inputs, rows))
        sampled, decision = self.sampled, self.decision
        return Answer(
            request,
            self.prediction.take(rows),
            None if sampled is None else sampled.take(rows),
            None if decision is None else decision.take(rows),
        )

    @property
    def inputs(self) -> Inputs:
        """The rows, as the model takes them."""
        assert not isinstance(self.request.inputs, UncheckedRows)
        return self.request.inputs

    @property
    def sampling(self) -> tuple[Sampling, Sampled]:
        """The options and results of sampling, for a request that has them."""
        assert self.request.sampling
        assert self.sampled
        return self.request.sampling, self.sampled

    def most_passes(self, rows: slice) -> int:
        """Return the largest number of samples of these rows, for a request that has samples."""
        sampling, sampled = self.sampling
        return int(sampled.passes[rows].max()) if sampling.stop else sampling.passes

    def count_accepted(self, rows: slice) -> int | None:
        """Return how many of these rows are accepted; None without a threshold."""
        decision = self.decision
        if decision is None:
            return None
        accepted: list[bool] = self.share("accepted", decision.accepted.tolist)
        return sum(accepted[rows])


def plan(engine: Engine, inputs: Inputs | UncheckedRows, options: UncertaintyRequest, settings: Settings) -> Request:
    """Return the request to sample with these options. Raises InvalidInput or LimitExceeded."""
    request = Request(engine, inputs, error_rate=options.error_rate)
    return replace(request, sampling=plan_sampling(options, engine.manifest, request.rows, settings))


def join(requests: Sequence[Request]) -> Request:
    """Return one request for the rows of requests of one kind."""
    first = requests[0]
    if len(requests) == 1:
        return first
    unchecked = [request.inputs for request in requests if isinstance(request.inputs, UncheckedRows)]
    arrays = [request.inputs for request in requests if not isinstance(request.inputs, UncheckedRows)]
    return replace(first, inputs=unchecked[0].join(unchecked) if unchecked else join_inputs(arrays))


def infer(request: Request, job: Job | None = None) -> Answer:
    """Run a request. Raises InvalidInput for a row without an answer, or for an unknown error rate."""
    job = job or Job()
    engine, inputs, sampling = request.engine, request.inputs, request.sampling
    if isinstance(inputs, UncheckedRows):
        inputs = inputs.fit(engine.manifest)
        request = replace(request, inputs=inputs)
        job.watch.lap("parse")
    if sampling is None:
        return Answer(request, engine.predict(inputs, job))
    sampled = engine.sample(inputs, sampling, job)
    decision = decide(engine.manifest, sampling, sampled.uncertainty, request.error_rate)
    return Answer(request, sampled.deterministic, sampled, decision)
