"""The use case of the service: answer a request to an engine.

HTTP, the Open Inference Protocol, the shell, bulk scoring and the documentation's examples decode to a request, call
`infer` and encode the answer. A request is planned (limits, what to sample), run by the engine, and decided.
"""

from dataclasses import dataclass

from service.api.requests import UncertaintyRequest, plan_sampling
from service.config import Settings
from service.engine.answers import Prediction, Sampled
from service.engine.decisions import Decision, decide
from service.engine.engine import Engine
from service.engine.inputs import Inputs, count_rows
from service.engine.job import Estimate, Job
from service.engine.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Request:
    """Rows for a model, and how to sample its thinned networks; without a sampling, for the deterministic answer."""

    engine: Engine
    inputs: Inputs
    sampling: Sampling | None = None
    error_rate: float | None = None
    """The error rate of the abstention threshold; None: the model's own choice."""

    @property
    def rows(self) -> int:
        """The number of rows."""
        return count_rows(self.inputs)

    def estimate(self) -> Estimate:
        """Return the estimated time of the engine."""
        return self.engine.estimate(self.rows, self.sampling)

    def run(self, inputs: Inputs, job: Job) -> Prediction | Sampled:
        """Run the engine on these rows with the request's sampling. Raises InvalidInput."""
        if self.sampling is None:
            return self.engine.predict(inputs, job)
        return self.engine.sample(inputs, self.sampling, job)


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

    @property
    def sampling(self) -> tuple[Sampling, Sampled]:
        """The options and results of sampling, for a request that has them."""
        assert self.request.sampling
        assert self.sampled
        return self.request.sampling, self.sampled


def plan(engine: Engine, inputs: Inputs, options: UncertaintyRequest, settings: Settings) -> Request:
    """Return the request to sample with these options. Raises InvalidInput or LimitExceeded."""
    sampling = plan_sampling(options, engine.manifest, count_rows(inputs), settings)
    return Request(engine, inputs, sampling, options.error_rate)


def infer(request: Request, job: Job | None = None) -> Answer:
    """Run a request. Raises InvalidInput for a row without an answer, or for an unknown error rate."""
    return decide_on(request, request.run(request.inputs, job or Job()))


def decide_on(request: Request, output: Prediction | Sampled) -> Answer:
    """Return the answer with its decision. Raises InvalidInput for an unknown error rate."""
    if not isinstance(output, Sampled) or request.sampling is None:
        return Answer(request, output if isinstance(output, Prediction) else output.deterministic)
    decision = decide(request.engine.manifest, request.sampling, output.uncertainty, request.error_rate)
    return Answer(request, output.deterministic, output, decision)
