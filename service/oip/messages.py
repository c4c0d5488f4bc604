"""Requests of the protocol, independent of the wire format and shared by HTTP and gRPC."""

from collections.abc import Mapping
from typing import NamedTuple

from service.rows.unchecked import TensorRows

Parameter = bool | int | float | str
Parameters = Mapping[str, object]
"""The `parameters` of a request; each is checked where it is used."""


class RequestedOutput(NamedTuple):
    """A requested output."""

    name: str
    binary: bool = False
    """Whether to return it as raw bytes after the JSON; gRPC always returns raw bytes."""


class InferRequest(NamedTuple):
    """A request for inference."""

    inputs: TensorRows
    """The rows, in the shapes of the model's inputs."""
    outputs: tuple[RequestedOutput, ...]
    """The requested outputs; empty: those of the deterministic answer."""
    parameters: Parameters
    id: str | None
    binary: bool
    """Whether to return raw bytes if no outputs are named."""
