"""Convert HTTP bodies from and to messages: JSON, with tensors inside it or as raw bytes after it.

A header has the length of the JSON; without it, the whole body is JSON.
"""

from typing import Annotated, Any

import msgspec

from service.access.calls import Reply
from service.api.decoding import decode_request
from service.api.replies import encode
from service.errors import InvalidInput, MalformedBody
from service.inference import Answer
from service.model.manifest import Manifest
from service.oip.datatypes import BYTES, from_bytes, to_bytes
from service.oip.infer import reply_parameters
from service.oip.json_data import from_json
from service.oip.messages import InferRequest, RequestedOutput
from service.oip.outputs import Chosen, read_outputs
from service.oip.reading import check_parameters, check_repeated, check_tensor, input_spec
from service.rows.inputs import FIELD
from service.rows.unchecked import Tensor, TensorRows

JSON_LENGTH = b"inference-header-content-length"
OCTETS = b"application/octet-stream"

Json = dict[str, Any]


NO_DATA = msgspec.Raw(b"")


class InputTensor(msgspec.Struct):
    """An input in JSON, without values if they follow as raw bytes."""

    name: str
    shape: list[Annotated[int, msgspec.Meta(le=2**63 - 1)]]
    datatype: str
    parameters: Json | None = None
    data: msgspec.Raw = NO_DATA


class OutputRequest(msgspec.Struct):
    """A requested output in JSON."""

    name: str
    parameters: Json | None = None


class Body(msgspec.Struct):
    """The JSON of a request for inference."""

    inputs: list[InputTensor]
    outputs: list[OutputRequest] | None = None
    id: str | None = None
    parameters: Json | None = None


def decode_infer(body: bytes, json_length: bytes | None, manifest: Manifest, max_rows: int) -> InferRequest:
    """Return a request whose inputs have the model's shapes; `json_length` is the header's value.

    Raises MalformedBody, InvalidInput or LimitExceeded.
    """
    length = len(body) if json_length is None else _parse_length(json_length, body)
    requested = decode_request(body[:length], Body)
    if len(requested.inputs) > 1:
        check_repeated([tensor.name for tensor in requested.inputs], FIELD)
    parameters = requested.parameters or {}
    binary = _flag(parameters, "binary_data_output", "parameters", default=False) if parameters else False
    tensors = _read_inputs(requested.inputs, body, length, manifest, max_rows)
    outputs = _read_outputs(requested.outputs, binary) if requested.outputs else ()
    return InferRequest(TensorRows.of(tensors, manifest), outputs, parameters, requested.id, binary)


def encode_reply(request_id: str | None, chosen: Chosen, answer: Answer, rows: slice) -> Reply:
    """Return the reply to the request of these rows over HTTP."""
    manifest = answer.request.engine.manifest
    described: Json = {"model_name": manifest.name, "model_version": str(manifest.version)}
    if request_id is not None:
        described["id"] = request_id
    if parameters := reply_parameters(answer, rows):
        described["parameters"] = parameters
    described["outputs"] = outputs = []
    raw: list[bytes] = []
    for column in read_outputs(answer, chosen):
        values = column.take(rows)
        output: Json = {"name": column.name, "datatype": column.datatype, "shape": values.shape}
        if column.binary:
            raw.append(to_bytes(values, column.datatype))
            output["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            output["data"] = values.ravel().tolist() if column.datatype == BYTES else values.ravel()
        outputs.append(output)
    head = encode(described)
    if not raw:
        return Reply(head)
    return Reply(b"".join([head, *raw]), OCTETS, ((JSON_LENGTH, b"%d" % len(head)),))


def _parse_length(header: bytes, body: bytes) -> int:
    if not (header.isdigit() and len(header) < 20 and int(header) <= len(body)):
        found = header[:100].decode("latin-1")
        message = f"{JSON_LENGTH.decode()}: expected the bytes of JSON, at most the body's {len(body)}; found {found}"
        raise MalformedBody(message, field=JSON_LENGTH.decode())
    return int(header)


def _read_inputs(
    tensors: list[InputTensor], body: bytes, start: int, manifest: Manifest, max_rows: int
) -> dict[str, Tensor]:
    """Return tensors by input; the raw bytes from `start` on belong to the inputs without data, in order."""
    read: dict[str, Tensor] = {}
    for tensor in tensors:
        spec = input_spec(tensor.name, manifest)
        field = f"{FIELD}.{spec.name}"
        parameters = tensor.parameters or {}
        if parameters:
            check_parameters(parameters, field)
        check_tensor(tensor.datatype, tensor.shape, spec, max_rows)
        size = _binary_size(parameters, tensor.data is not NO_DATA, len(body) - start, field)
        if size is None:
            read[spec.name] = from_json(tensor.data, tensor.datatype, tensor.shape, field, spec)
        else:  # a slice is a copy, which is aligned for every type
            read[spec.name] = from_bytes(body[start : start + size], tensor.datatype, tensor.shape, field)
            start += size
    if start != len(body):
        raise InvalidInput(f"{FIELD}: {len(body) - start} of the bytes after the JSON belong to no input", field=FIELD)
    return read


def _binary_size(parameters: Json, has_data: bool, left: int, field: str) -> int | None:
    """Return the number of raw bytes of an input, or None if its values are in the JSON."""
    size = parameters.get("binary_data_size")
    if (size is None) != has_data:
        found = "both" if has_data else "neither"
        message = f"{field}: expected either data or parameters.binary_data_size, found {found}"
        raise InvalidInput(message, field=field)
    if size is None:
        return None
    if type(size) is not int or not 0 <= size <= left:
        name = f"{field}.parameters.binary_data_size"
        message = f"{name}: expected a whole number, at most the {left} bytes left after the JSON; found {size!r}"
        raise InvalidInput(message[:500], field=name, expected=left)
    return size


def _read_outputs(requested: list[OutputRequest], binary: bool) -> tuple[RequestedOutput, ...]:
    check_repeated([output.name for output in requested], "outputs")
    outputs = []
    for output in requested:
        field = f"outputs.{output.name[:100]}"
        parameters = output.parameters or {}
        check_parameters(parameters, field)
        wanted = _flag(parameters, "binary_data", f"{field}.parameters", default=binary)
        outputs.append(RequestedOutput(output.name, wanted))
    return tuple(outputs)


def _flag(parameters: Json, name: str, field: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidInput(f"{field}.{name}: expected true or false", field=f"{field}.{name}")
    return value
