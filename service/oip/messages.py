"""A question and its answer as the protocol has them, in no wire format yet: HTTP and gRPC share them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from service.engine.steps import Inputs
from service.model.runtime import Array
from service.telemetry.outcomes import Outcome

Parameter = bool | int | float | str
Parameters = Mapping[str, object]
"""What a caller sends under `parameters`; each is checked where it is used."""


class RequestedOutput(NamedTuple):
    """An output that was asked for."""

    name: str
    binary: bool = False
    """As raw bytes behind the JSON; gRPC always answers so."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What to answer."""

    inputs: Inputs
    """Arrays (rows, …) that fit the model."""
    outputs: tuple[RequestedOutput, ...] = ()
    """None: those of the deterministic answer."""
    parameters: Parameters = field(default_factory=dict)
    id: str | None = None
    binary: bool = False
    """How to answer the outputs when none are named."""


class OutputTensor(NamedTuple):
    """One output of the answer."""

    name: str
    datatype: str
    values: Array
    """(rows, …); of BYTES, an array of str objects."""
    binary: bool


@dataclass(frozen=True, slots=True)
class InferReply:
    """The answer."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    parameters: dict[str, Parameter]
    outcome: Outcome
    """The same for whoever counts; not sent."""
    id: str | None = None
