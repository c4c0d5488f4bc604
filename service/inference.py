"""The one use case: an engine and a request for it → the answer.

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
    """At which answers are accepted; None is the model's own."""

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return count_rows(self.inputs)

    def estimate(self) -> Estimate:
        """Estimate how long the engine takes."""
        return self.engine.estimate(self.rows, self.sampling)

    def run(self, inputs: Inputs, job: Job) -> Prediction | Sampled:
        """Run the engine on these rows, as this request says."""
        if self.sampling is None:
            return self.engine.predict(inputs, job)
        return self.engine.sample(inputs, self.sampling, job)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model answered to a request."""

    request: Request
    prediction: Prediction
    """The deterministic answer."""
    sampled: Sampled | None = None
    """The thinned networks' answer, where they were sampled."""
    decision: Decision | None = None
    """Which rows to accept, where it is known."""

    @property
    def sampling(self) -> tuple[Sampling, Sampled]:
        """How the thinned networks were sampled, and what they answered; only of a request that has a sampling."""
        assert self.request.sampling
        assert self.sampled
        return self.request.sampling, self.sampled


def plan(engine: Engine, inputs: Inputs, options: UncertaintyRequest, settings: Settings) -> Request:
    """Return the request to sample as the options say; raises InvalidInput or LimitExceeded."""
    sampling = plan_sampling(options, engine.manifest, count_rows(inputs), settings)
    return Request(engine, inputs, sampling, options.error_rate)


def infer(request: Request, job: Job | None = None) -> Answer:
    """Run a request; raises InvalidInput for a row without an answer, or an error rate that the model does not have."""
    return decide_on(request, request.run(request.inputs, job or Job()))


def decide_on(request: Request, output: Prediction | Sampled) -> Answer:
    """Return the answer that the engine's output makes; raises InvalidInput for an error rate that the model lacks."""
    if not isinstance(output, Sampled) or request.sampling is None:
        return Answer(request, output if isinstance(output, Prediction) else output.deterministic)
    decision = decide(request.engine.manifest, request.sampling, output.uncertainty, request.error_rate)
    return Answer(request, output.deterministic, output, decision)
