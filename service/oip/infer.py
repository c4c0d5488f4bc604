"""Convert a request in the protocol's terms to one for the engine, and the engine's answer to a reply."""

from collections.abc import Callable, Sequence
from functools import partial

from service.api.decoding import read_options
from service.api.requests import UncertaintyRequest
from service.config import Settings
from service.engine.engine import Engine
from service.engine.inputs import count_rows
from service.errors import InvalidInput
from service.inference import Answer, Request, plan
from service.oip.messages import InferReply, InferRequest, Parameter, Parameters, RequestedOutput
from service.oip.outputs import choose_outputs, needs_sampling, read_outputs

SAMPLING = ("samples", "seed", "dropout_rate", "tolerance", "confidence")
IGNORED = ("binary_data_output", "priority", "timeout", "content_type", "headers")
"""Parameters without effect on the answer: its encoding, hints for queues, and additions of MLServer's clients."""


def plan_infer(
    engine: Engine, requested: InferRequest, settings: Settings
) -> tuple[Request, Callable[[Answer], InferReply]]:
    """Return the request to the engine, and a function from its answer to the reply.

    Raises InvalidInput or LimitExceeded.
    """
    manifest = engine.manifest
    chosen = choose_outputs(requested.outputs, requested.binary, manifest)
    parameters = sampling_parameters(requested.parameters)
    if needs_sampling(chosen, manifest):
        options = read_sampling_options(parameters, chosen, count_rows(requested.inputs), settings)
        request = plan(engine, requested.inputs, options, settings)
    else:
        _refuse_unused(parameters)
        request = Request(engine, requested.inputs)
    return request, partial(_reply, requested, chosen)


def _reply(requested: InferRequest, chosen: Sequence[RequestedOutput], answer: Answer) -> InferReply:
    manifest, sampling, sampled = answer.request.engine.manifest, answer.request.sampling, answer.sampled
    parameters: dict[str, Parameter] = {}
    if sampling and sampled:
        parameters = {"samples": sampled.most_passes, "seed": sampling.seed}
    return InferReply(
        model_name=manifest.name,
        model_version=str(manifest.version),
        outputs=read_outputs(chosen, manifest, answer.prediction, sampled),
        parameters=parameters,
        id=requested.id,
    )


def sampling_parameters(parameters: Parameters) -> dict[str, object]:
    """Return the parameters of sampling. Raises InvalidInput for an unknown parameter."""
    for name in parameters:
        if name not in SAMPLING and name not in IGNORED:
            message = f"parameters.{name[:100]}: there is no such parameter; expected {', '.join(SAMPLING)}"
            raise InvalidInput(message, field=f"parameters.{name[:100]}", expected=list(SAMPLING))
    return {name: parameters[name] for name in SAMPLING if name in parameters}


def read_sampling_options(
    parameters: dict[str, object], chosen: Sequence[RequestedOutput], rows: int, settings: Settings
) -> UncertaintyRequest:
    """Return the parameters as fields of `/uncertainty`. Raises InvalidInput."""
    return_samples = any(output.name == "samples" for output in chosen)
    fields: dict[str, object] = {"return_samples": return_samples}
    fields |= {name: parameters[name] for name in ("samples", "seed", "dropout_rate") if name in parameters}
    if stop := {name: parameters[name] for name in ("tolerance", "confidence") if name in parameters}:
        if return_samples and rows > 1:
            message = "outputs.samples: rows may stop after different numbers of passes; expected a fixed number"
            raise InvalidInput(message, field="outputs.samples")
        fields["samples"] = stop | {"max": parameters.get("samples", settings.default_samples)}
    return read_options(fields)


def _refuse_unused(requested: dict[str, object]) -> None:
    for name in requested:
        message = f"parameters.{name}: requires an output of the sampling, such as standard_error; none is requested"
        raise InvalidInput(message, field=f"parameters.{name}")
