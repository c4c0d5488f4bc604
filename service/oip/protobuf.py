"""Convert protobuf from and to messages; outputs are always raw bytes, as Triton's clients read no other form."""

import math
from collections.abc import Mapping

import numpy as np

from service.errors import InvalidInput
from service.inference import Answer
from service.model.manifest import Manifest
from service.oip.datatypes import DTYPES, from_bytes, to_bytes
from service.oip.infer import reply_parameters
from service.oip.messages import InferRequest, Parameter, RequestedOutput
from service.oip.outputs import Chosen, read_outputs
from service.oip.proto import open_inference_pb2 as pb
from service.oip.reading import check_parameters, check_repeated, check_tensor, input_spec
from service.rows.inputs import FIELD
from service.rows.unchecked import Tensor, TensorRows

InputTensor = pb.ModelInferRequest.InferInputTensor

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
"""The field of values not sent as raw bytes, by datatype; 16-bit floats have none."""


def read_request(requested: pb.ModelInferRequest, manifest: Manifest, max_rows: int) -> InferRequest:
    """Return a request whose inputs have the model's shapes. Raises InvalidInput or LimitExceeded."""
    check_repeated([tensor.name for tensor in requested.inputs], FIELD)
    check_repeated([output.name for output in requested.outputs], "outputs")
    raw: list[bytes | None] = list(requested.raw_input_contents) or [None] * len(requested.inputs)
    if len(raw) != len(requested.inputs):
        message = f"raw_input_contents: expected one for each of {len(requested.inputs)} inputs, found {len(raw)}"
        raise InvalidInput(message, field="raw_input_contents", expected=len(requested.inputs))
    for output in requested.outputs:
        check_parameters(output.parameters, f"outputs.{output.name[:100]}")
    tensors = {
        tensor.name: _read_tensor(tensor, content, manifest, max_rows)
        for tensor, content in zip(requested.inputs, raw, strict=True)
    }
    return InferRequest(
        inputs=TensorRows.of(tensors, manifest),
        outputs=tuple(RequestedOutput(output.name, binary=True) for output in requested.outputs),
        parameters=_read_parameters(requested.parameters),
        id=requested.id or None,
        binary=True,
    )


def write_reply(request_id: str | None, chosen: Chosen, answer: Answer, rows: slice) -> pb.ModelInferResponse:
    """Return the reply to the request of these rows as protobuf."""
    manifest = answer.request.engine.manifest
    outputs = [(column, column.take(rows)) for column in read_outputs(answer, chosen)]
    return pb.ModelInferResponse(
        model_name=manifest.name,
        model_version=str(manifest.version),
        id=request_id or "",
        parameters={name: _write_parameter(value) for name, value in reply_parameters(answer, rows).items()},
        outputs=[
            pb.ModelInferResponse.InferOutputTensor(name=column.name, datatype=column.datatype, shape=values.shape)
            for column, values in outputs
        ],
        raw_output_contents=[to_bytes(values, column.datatype) for column, values in outputs],
    )


def _read_tensor(tensor: InputTensor, raw: bytes | None, manifest: Manifest, max_rows: int) -> Tensor:
    spec = input_spec(tensor.name, manifest)
    field = f"{FIELD}.{spec.name}"
    check_parameters(tensor.parameters, field)
    check_tensor(tensor.datatype, tensor.shape, spec, max_rows)
    if raw is None:
        return _from_contents(tensor, field)
    if tensor.HasField("contents"):
        raise InvalidInput(f"{field}: expected either contents or raw_input_contents, found both", field=field)
    return from_bytes(raw, tensor.datatype, tensor.shape, field)


def _from_contents(tensor: InputTensor, field: str) -> Tensor:
    name = CONTENTS.get(tensor.datatype)
    if name is None:
        raise InvalidInput(f"{field}: {tensor.datatype} has no contents; expected raw_input_contents", field=field)
    filled = [descriptor.name for descriptor, _ in tensor.contents.ListFields()]
    values = getattr(tensor.contents, name)
    if filled != [name] or len(values) != math.prod(tensor.shape):
        found = f"{len(values)}" if filled == [name] else ", ".join(filled) or "none"
        message = f"{field}.contents: expected {math.prod(tensor.shape)} {name}, found {found}"
        raise InvalidInput(message, field=f"{field}.contents", expected=name)
    dtype = np.dtype(np.uint8) if tensor.datatype == "BOOL" else DTYPES[tensor.datatype]
    try:
        return Tensor(np.fromiter(values, dtype, len(values)), dtype, tensor.shape[0])
    except OverflowError:
        message = f"{field}.contents: expected numbers that fit {tensor.datatype}"
        raise InvalidInput(message, field=f"{field}.contents") from None


def _read_parameters(parameters: Mapping[str, pb.InferParameter]) -> dict[str, object]:
    read: dict[str, object] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        value = getattr(parameter, choice) if choice else None
        if isinstance(value, float) and not math.isfinite(value):
            field = f"parameters.{name[:100]}"
            raise InvalidInput(f"{field}: expected a finite number, found {value}", field=field)
        read[name] = value
    return read


def _write_parameter(value: Parameter) -> pb.InferParameter:
    if isinstance(value, bool):
        return pb.InferParameter(bool_param=value)
    if isinstance(value, int):
        return pb.InferParameter(int64_param=value)
    if isinstance(value, float):
        return pb.InferParameter(double_param=value)
    return pb.InferParameter(string_param=value)
