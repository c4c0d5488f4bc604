"""Models of the Open Inference Protocol's JSON for OpenAPI and for typed clients.

They only describe: `service.oip.wire` reads and writes. Names are those of the protocol.
"""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from service.api.schemas import Body, Reply
from service.oip.datatypes import NUMERIC

Parameters = dict[str, bool | int | float | str]
Datatype = Literal[NUMERIC]  # type: ignore[valid-type]


class OipError(Reply):
    """An error in the protocol's form."""

    error: str
    """The error in words, with the field and what was expected."""


class ServerMetadata(Reply):
    """The server's name, version and extensions."""

    name: str
    version: str
    extensions: list[str]
    """The supported extensions of the protocol."""


class ServerLive(Reply):
    """The process is running."""

    live: Literal[True]


class ServerReady(Reply):
    """Models are loaded and verified."""

    ready: Literal[True]
    live: Literal[True]


class ModelReady(Reply):
    """A model is ready."""

    name: str
    ready: Literal[True]


class TensorMetadata(Reply):
    """An input or output."""

    name: str
    datatype: str
    shape: list[int]
    """The shape with the axis of rows; -1 is an axis of any length."""


class ModelMetadata(Reply):
    """A model: its inputs, and all outputs that a request may name."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class OipBody(Body):
    """The base of the models of requests; unknown fields are ignored, as in the protocol."""

    model_config = ConfigDict(extra="ignore")


class InferInput(OipBody):
    """An input tensor."""

    name: str
    shape: list[int] = Field(json_schema_extra={"items": {"type": "integer", "minimum": 1}})
    """The shape; the first axis is that of the rows."""
    datatype: Datatype
    parameters: Parameters | None = None
    """`binary_data_size`, if the values follow the JSON as raw bytes."""
    data: list[Any] = Field(default_factory=list)
    """The values: flat in row-major order, or nested like the shape."""


class InferRequestedOutput(OipBody):
    """An output to return."""

    name: str
    parameters: Parameters | None = None
    """`binary_data`, to return raw bytes after the JSON."""


class InferRequest(OipBody):
    """Rows to predict, as tensors."""

    id: str | None = None
    """An identifier, returned with the answer."""
    parameters: Parameters | None = None
    """Parameters of the sampling: `samples`, `seed`, `dropout_rate`, `tolerance`, `confidence`."""
    inputs: list[InferInput] = Field(min_length=1)
    outputs: list[InferRequestedOutput] | None = None
    """The outputs to return; those of the deterministic answer when absent."""


class InferOutput(Reply):
    """An output tensor."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters | None = None
    """`binary_data_size`, if the values follow the JSON as raw bytes."""
    data: list[Any] | None = None
    """The values, flat in row-major order."""


class InferReply(Reply):
    """The answer, as tensors."""

    model_name: str
    model_version: str
    id: str | None = None
    """The identifier of the request."""
    parameters: Parameters | None = None
    """Parameters of the sampling, which repeat the answer if sent again."""
    outputs: list[InferOutput]


class IndexRequest(OipBody):
    """The body of a request for the index of models."""

    ready: bool | None = None
    """Whether to list only ready versions; all when absent."""


class IndexEntry(Reply):
    """A version of a model."""

    name: str
    version: str
    state: Literal["READY", "LOADING", "UNAVAILABLE"]
    reason: str
    """Why the version is unavailable, or why its newer files could not be loaded; else empty."""


class LoadRequest(OipBody):
    """The body of a request to load or unload a model."""

    parameters: Parameters | None = None
    """Must be empty or absent, as models are loaded only as published."""


class Done(Reply):
    """The empty answer of a completed command."""
