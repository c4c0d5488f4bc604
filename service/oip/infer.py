"""Convert a request in the protocol's terms to one for the engine, and describe the answer as the protocol does."""

from service.api.decoding import read_options
from service.api.requests import UncertaintyRequest
from service.config import Settings
from service.engine.engine import Engine
from service.errors import InvalidInput
from service.inference import Answer, Request, plan
from service.oip.messages import InferRequest, Parameter, Parameters
from service.oip.outputs import Chosen, choose_outputs

SAMPLING = ("samples", "seed", "dropout_rate", "tolerance", "confidence")
IGNORED = ("binary_data_output", "priority", "timeout", "content_type", "headers")
"""Parameters without effect on the answer: its encoding, hints for queues, and additions of MLServer's clients."""


def plan_infer(engine: Engine, requested: InferRequest, settings: Settings) -> tuple[Request, Chosen]:
    """Return the request to the engine, and the outputs of its reply. Raises InvalidInput or LimitExceeded."""
    chosen = choose_outputs(requested.outputs, requested.binary, engine.manifest)
    parameters = sampling_parameters(requested.parameters)
    if chosen.sampled:
        options = read_sampling_options(parameters, chosen, requested.inputs.count, settings)
        return plan(engine, requested.inputs, options, settings), chosen
    for name in parameters:
        message = f"parameters.{name}: requires an output of the sampling, such as standard_error; none is requested"
        raise InvalidInput(message, field=f"parameters.{name}")
    return Request(engine, requested.inputs), chosen


def reply_parameters(answer: Answer, rows: slice) -> dict[str, Parameter]:
    """Return the parameters of the reply to the request of these rows, which say how they were sampled."""
    sampling = answer.request.sampling
    return {"samples": answer.most_passes(rows), "seed": sampling.seed} if sampling else {}


def sampling_parameters(parameters: Parameters) -> dict[str, object]:
    """Return the parameters of sampling. Raises InvalidInput for an unknown parameter."""
    if not parameters:
        return {}
    for name in parameters:
        if name not in SAMPLING and name not in IGNORED:
            message = f"parameters.{name[:100]}: there is no such parameter; expected {', '.join(SAMPLING)}"
            raise InvalidInput(message, field=f"parameters.{name[:100]}", expected=list(SAMPLING))
    return {name: parameters[name] for name in SAMPLING if name in parameters}


def read_sampling_options(
    parameters: dict[str, object], chosen: Chosen, rows: int, settings: Settings
) -> UncertaintyRequest:
    """Return the parameters as fields of `/uncertainty`. Raises InvalidInput."""
    return_samples = any(output.name == "samples" for output in chosen.outputs)
    fields: dict[str, object] = {"return_samples": return_samples}
    fields |= {name: parameters[name] for name in ("samples", "seed", "dropout_rate") if name in parameters}
    if stop := {name: parameters[name] for name in ("tolerance", "confidence") if name in parameters}:
        if return_samples and rows > 1:
            message = "outputs.samples: rows may stop after different numbers of passes; expected a fixed number"
            raise InvalidInput(message, field="outputs.samples")
        fields["samples"] = stop | {"max": parameters.get("samples", settings.default_samples)}
    return read_options(fields)
