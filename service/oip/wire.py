"""Convert HTTP bodies from and to messages: JSON, with tensors inside it or as raw bytes after it.

A header has the length of the JSON; without it, the whole body is JSON.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.access.calls import Reply
from service.api.replies import encode
from service.errors import InvalidInput, MalformedBody
from service.inference import Answer
from service.model.manifest import Manifest
from service.oip.datatypes import BYTES, from_bytes, to_bytes
from service.oip.form import NO_DATA, FlatTensor, Input, InputTensor, KnownForms, check_body, decode_json
from service.oip.infer import reply_parameters
from service.oip.json_data import from_json, from_list
from service.oip.messages import InferRequest, Parameter
from service.oip.outputs import Chosen, Column, read_outputs
from service.rows.inputs import FIELD
from service.rows.unchecked import Tensor, TensorRows

JSON_LENGTH = b"inference-header-content-length"
OCTETS = b"application/octet-stream"

Json = dict[str, Any]


def decode_infer(
    body: bytes, json_length: bytes | None, manifest: Manifest, max_rows: int, known: KnownForms | None = None
) -> InferRequest:
    """Return a request whose inputs have the model's shapes; `json_length` is the header's value.

    Raises MalformedBody, InvalidInput or LimitExceeded.
    """
    if json_length is None:
        length, form = len(body), check_body(decode_json(body), manifest, max_rows)
    else:
        length = _parse_length(json_length, body)
        form = (known or KnownForms()).read(body[:length], manifest, max_rows)
    tensors = _read_inputs(form.inputs, body, length)
    return InferRequest(TensorRows.of(tensors, manifest), form.outputs, form.parameters, form.id, form.binary)


def encode_reply(request_id: str | None, chosen: Chosen, answer: Answer, rows: slice) -> Reply:
    """Return the reply to the request of these rows over HTTP."""
    columns = read_outputs(answer, chosen)
    raw = [to_bytes(column.take(rows), column.datatype) for column in columns if column.binary]
    sizes, parameters = tuple(map(len, raw)), reply_parameters(answer, rows)
    if len(raw) < len(columns):
        head = _describe(request_id, columns, answer, rows, sizes, parameters)
    else:  # it has no values, and so is the same for many requests of a run
        key = (chosen, request_id, rows.stop - rows.start, sizes, *parameters.values())
        head = answer.share(key, lambda: _describe(request_id, columns, answer, rows, sizes, parameters))
    if not raw:
        return Reply(head)
    return Reply(b"".join([head, *raw]), OCTETS, ((JSON_LENGTH, b"%d" % len(head)),))


def _describe(
    request_id: str | None,
    columns: Sequence[Column],
    answer: Answer,
    rows: slice,
    sizes: Sequence[int],
    parameters: Mapping[str, Parameter],
) -> bytes:
    """Return the JSON of a reply; `sizes` are the bytes of its binary outputs."""
    manifest = answer.request.engine.manifest
    described: Json = {"model_name": manifest.name, "model_version": str(manifest.version)}
    if request_id is not None:
        described["id"] = request_id
    if parameters:
        described["parameters"] = parameters
    described["outputs"] = outputs = []
    size = iter(sizes)
    for column in columns:
        values = column.take(rows)
        output: Json = {"name": column.name, "datatype": column.datatype, "shape": values.shape}
        if column.binary:
            output["parameters"] = {"binary_data_size": next(size)}
        else:
            output["data"] = values.ravel().tolist() if column.datatype == BYTES else values.ravel()
        outputs.append(output)
    return encode(described)


def _parse_length(header: bytes, body: bytes) -> int:
    if not (header.isdigit() and len(header) < 20 and int(header) <= len(body)):
        found = header[:100].decode("latin-1")
        message = f"{JSON_LENGTH.decode()}: expected the bytes of JSON, at most the body's {len(body)}; found {found}"
        raise MalformedBody(message, field=JSON_LENGTH.decode())
    return int(header)


def _read_inputs(inputs: list[Input], body: bytes, start: int) -> dict[str, Tensor]:
    """Return tensors by input; the raw bytes from `start` on belong to the inputs without data, in order."""
    read: dict[str, Tensor] = {}
    for spec, field, tensor in inputs:
        size = _binary_size(tensor, len(body) - start, field)
        if size is not None:  # a slice is a copy, which is aligned for every type
            read[spec.name] = from_bytes(body[start : start + size], tensor.datatype, tensor.shape, field)
            start += size
        elif isinstance(tensor, FlatTensor):
            read[spec.name] = from_list(tensor.data, tensor.datatype, tensor.shape, field, spec)
        else:
            read[spec.name] = from_json(tensor.data, tensor.datatype, tensor.shape, field, spec)
    if start != len(body):
        raise InvalidInput(f"{FIELD}: {len(body) - start} of the bytes after the JSON belong to no input", field=FIELD)
    return read


def _binary_size(tensor: InputTensor | FlatTensor, left: int, field: str) -> int | None:
    """Return the number of raw bytes of an input, or None if its values are in the JSON."""
    size = tensor.parameters.get("binary_data_size") if tensor.parameters else None
    has_data = tensor.data is not NO_DATA
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
