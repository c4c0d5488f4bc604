"""What the JSON of the Open Inference Protocol means: models for OpenAPI, and for clients that want types.

They describe; `service.oip.wire` reads and writes. Names are those of the protocol.
"""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from service.api.schemas import Body, Reply
from service.oip.datatypes import NUMERIC

Parameters = dict[str, bool | int | float | str]
Datatype = Literal[NUMERIC]  # type: ignore[valid-type]


class OipError(Reply):
    """A refusal, in the protocol's own form."""

    error: str
    """What went wrong: names the field and what was expected."""


class ServerMetadata(Reply):
    """The server."""

    name: str
    version: str
    extensions: list[str]
    """Of the protocol."""


class ServerLive(Reply):
    """The process runs."""

    live: Literal[True]


class ServerReady(Reply):
    """Models are loaded and verified."""

    ready: Literal[True]
    live: Literal[True]


class ModelReady(Reply):
    """A model serves."""

    name: str
    ready: Literal[True]


class TensorMetadata(Reply):
    """An input or an output."""

    name: str
    datatype: str
    shape: list[int]
    """-1: an axis of any length."""


class ModelMetadata(Reply):
    """A model: its inputs, and all outputs that a request may name."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class OipBody(Body):
    """A part of a request; fields that are not known are passed over, as the protocol wants it."""

    model_config = ConfigDict(extra="ignore")


class InferInput(OipBody):
    """An input tensor."""

    name: str
    shape: list[int] = Field(json_schema_extra={"items": {"type": "integer", "minimum": 1}})
    """The first axis is that of the rows."""
    datatype: Datatype
    parameters: Parameters | None = None
    """`binary_data_size`, where the values follow the JSON as raw bytes."""
    data: list[Any] = Field(default_factory=list)
    """The values: flat, row by row, or nested as the shape is."""


class InferRequestedOutput(OipBody):
    """An output to return."""

    name: str
    parameters: Parameters | None = None
    """`binary_data`, for raw bytes behind the JSON."""


class InferRequest(OipBody):
    """Rows to answer, as tensors."""

    id: str | None = None
    """Returned with the answer."""
    parameters: Parameters | None = None
    """Of the sampling: `samples`, `seed`, `dropout_rate`, `tolerance`, `confidence`."""
    inputs: list[InferInput] = Field(min_length=1)
    outputs: list[InferRequestedOutput] | None = None
    """Those of the deterministic answer when absent."""


class InferOutput(Reply):
    """An output tensor."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters | None = None
    """`binary_data_size`, where the values follow the JSON as raw bytes."""
    data: list[Any] | None = None
    """The values, flat, row by row."""


class InferReply(Reply):
    """The answer, as tensors."""

    model_name: str
    model_version: str
    id: str | None = None
    """The request's."""
    parameters: Parameters | None = None
    """Of the sampling: what to send to get the same answer again."""
    outputs: list[InferOutput]


class IndexRequest(OipBody):
    """Which versions to list."""

    ready: bool | None = None
    """Only those that serve; all when absent."""


class IndexEntry(Reply):
    """A version of a model."""

    name: str
    version: str
    state: Literal["READY", "LOADING", "UNAVAILABLE"]
    reason: str
    """Why it does not serve; of one that does, why its newer files do not. Else empty."""


class LoadRequest(OipBody):
    """Beside the model's name, which the path has."""

    parameters: Parameters | None = None
    """None are taken when a model is loaded."""


class Done(Reply):
    """It is done; there is nothing to add."""
