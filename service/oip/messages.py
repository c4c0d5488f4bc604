"""Requests and replies of the protocol, independent of the wire format and shared by HTTP and gRPC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from service.engine.inputs import Inputs
from service.model.runtime import Array

Parameter = bool | int | float | str
Parameters = Mapping[str, object]
"""The `parameters` of a request; each is checked where it is used."""


class RequestedOutput(NamedTuple):
    """A requested output."""

    name: str
    binary: bool = False
    """Whether to return it as raw bytes after the JSON; gRPC always returns raw bytes."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request for inference."""

    inputs: Inputs
    """Arrays (rows, …) that fit the model."""
    outputs: tuple[RequestedOutput, ...] = ()
    """The requested outputs; empty: those of the deterministic answer."""
    parameters: Parameters = field(default_factory=dict)
    id: str | None = None
    binary: bool = False
    """Whether to return raw bytes if no outputs are named."""


class OutputTensor(NamedTuple):
    """An output of a reply."""

    name: str
    datatype: str
    values: Array
    """(rows, …); for BYTES an array of str objects."""
    binary: bool


@dataclass(frozen=True, slots=True)
class InferReply:
    """The reply to a request for inference."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    parameters: dict[str, Parameter]
    id: str | None = None
