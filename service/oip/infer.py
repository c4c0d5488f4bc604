"""A question in the protocol's terms → its answer, in short steps."""

from collections.abc import Sequence
from typing import Any

import msgspec

from service.api.decoding import decode_request
from service.api.requests import UncertaintyRequest, plan_sampling
from service.config import Settings
from service.engine.decisions import decide
from service.engine.engine import Engine
from service.engine.sampling import Sampling
from service.engine.stages import Stopwatch
from service.engine.steps import Steps, count_rows
from service.errors import InvalidInput
from service.model.manifest import Manifest
from service.oip.messages import InferReply, InferRequest, Parameter, Parameters, RequestedOutput
from service.oip.outputs import choose_outputs, needs_sampling, read_outputs
from service.telemetry.outcomes import Answered, Outcome, describe

SAMPLING = ("samples", "seed", "dropout_rate", "tolerance", "confidence")
PASSED_OVER = ("binary_data_output", "priority", "timeout", "content_type", "headers")
"""Of no meaning to the answer: how to encode it, hints for a queue, and what MLServer's clients add."""


def infer_steps(engine: Engine, request: InferRequest, settings: Settings, watch: Stopwatch) -> Steps[InferReply]:
    """The answer to a question; raises InvalidInput or LimitExceeded. Ends in stage `parse`, `run` or `summarise`."""
    manifest = engine.manifest
    chosen = choose_outputs(request.outputs, request.binary, manifest)
    asked = sampling_parameters(request.parameters)
    told: dict[str, Parameter] = {}
    if needs_sampling(chosen, manifest):
        sampling = plan(asked, chosen, manifest, count_rows(request.inputs), settings)
        watch.lap("parse")
        sampled = yield from engine.sample_steps(request.inputs, sampling, watch)
        prediction = sampled.deterministic
        outcome = describe(request.inputs, sampling, sampled, decide(manifest, sampling, sampled.uncertainty))
        told = {"samples": outcome.passes, "seed": sampling.seed}
    else:
        _refuse_unused(asked)
        watch.lap("parse")
        sampled = None
        prediction = yield from engine.predict_steps(request.inputs, watch)
        outcome = Outcome(len(prediction.values), answered=Answered(request.inputs, prediction))
    return InferReply(
        model_name=manifest.name,
        model_version=str(manifest.version),
        outputs=read_outputs(chosen, manifest, prediction, sampled),
        parameters=told,
        outcome=outcome,
        id=request.id,
    )


def sampling_parameters(parameters: Parameters) -> dict[str, object]:
    """Those that say how to sample; raises InvalidInput for one that means nothing here."""
    for name in parameters:
        if name not in SAMPLING and name not in PASSED_OVER:
            message = f"parameters.{name[:100]}: there is no such parameter; expected {', '.join(SAMPLING)}"
            raise InvalidInput(message, field=f"parameters.{name[:100]}", expected=list(SAMPLING))
    return {name: parameters[name] for name in SAMPLING if name in parameters}


def plan(
    asked: dict[str, object], chosen: Sequence[RequestedOutput], manifest: Manifest, rows: int, settings: Settings
) -> Sampling:
    """The same question as to `/uncertainty`, under the same limits."""
    return_samples = any(output.name == "samples" for output in chosen)
    fields: dict[str, Any] = {"inputs": None, "return_samples": return_samples}
    fields |= {name: asked[name] for name in ("samples", "seed", "dropout_rate") if name in asked}
    if stop := {name: asked[name] for name in ("tolerance", "confidence") if name in asked}:
        if return_samples and rows > 1:
            message = "outputs.samples: rows may stop after different numbers of passes; expected a fixed number"
            raise InvalidInput(message, field="outputs.samples")
        fields["samples"] = {"max": asked.get("samples", settings.default_samples), **stop}
    request = decode_request(msgspec.json.encode(fields), UncertaintyRequest)
    return plan_sampling(request, manifest, rows, settings)


def _refuse_unused(asked: dict[str, object]) -> None:
    for name in asked:
        message = (
            f"parameters.{name}: only goes with an output of the sampling, such as standard_error; none is asked for"
        )
        raise InvalidInput(message, field=f"parameters.{name}")
