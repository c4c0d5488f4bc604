"""The JSON of a request for inference over HTTP: what it says of the tensors, checked against the model."""

from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from service.api.decoding import decode_request
from service.errors import InvalidInput
from service.model.manifest import Manifest, TensorSpec
from service.oip.messages import RequestedOutput
from service.oip.reading import check_parameters, check_repeated, check_tensor, input_spec
from service.rows.inputs import FIELD
from service.rows.json_chunks import CHUNK_BYTES

Json = dict[str, Any]

NO_DATA = msgspec.Raw(b"")

MAX_KNOWN = 1024
"""The number of known forms beyond which all are forgotten."""

MAX_KNOWN_BYTES = 4096
"""The length of the longest JSON that is remembered."""


class Described(msgspec.Struct):
    """An input in JSON without its values."""

    name: str
    shape: list[Annotated[int, msgspec.Meta(le=2**63 - 1)]]
    datatype: str
    parameters: Json | None = None


class InputTensor(Described):
    """An input in JSON, without values if they follow as raw bytes."""

    data: msgspec.Raw = NO_DATA


class FlatTensor(Described, kw_only=True):
    """An input whose values are a flat list of floating-point numbers, as most in JSON are."""

    datatype: Literal["FP16", "FP32", "FP64"]
    data: list[float]


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


class FlatBody(msgspec.Struct):
    """The JSON of a request for inference whose inputs are all flat."""

    inputs: list[FlatTensor]
    outputs: list[OutputRequest] | None = None
    id: str | None = None
    parameters: Json | None = None


FLAT = msgspec.json.Decoder(FlatBody)


class Input(NamedTuple):
    """An input whose datatype and shape fit the model."""

    spec: TensorSpec
    field: str
    """Its name in errors."""
    tensor: InputTensor | FlatTensor


class Form(NamedTuple):
    """A request without the raw bytes that follow."""

    inputs: list[Input]
    outputs: tuple[RequestedOutput, ...]
    parameters: Json
    id: str | None
    binary: bool
    """Whether to return raw bytes if no outputs are named."""


class KnownForms:
    """Forms by their JSON, of requests whose values all follow as raw bytes: clients repeat theirs to the byte."""

    def __init__(self) -> None:
        """Begin without forms."""
        self._forms: dict[bytes, tuple[Manifest, Form]] = {}

    def read(self, text: bytes, manifest: Manifest, max_rows: int) -> Form:
        """Return the form of a request to this model; the limit must be the same at each call. Raises its errors."""
        known = self._forms.get(text)
        if known is not None and known[0] is manifest:
            return known[1]
        form = check_body(decode_request(text, Body), manifest, max_rows)
        if len(text) <= MAX_KNOWN_BYTES and all(given.tensor.data is NO_DATA for given in form.inputs):
            if len(self._forms) >= MAX_KNOWN:
                self._forms.clear()
            self._forms[text] = manifest, form
        return form


def decode_json(text: bytes) -> Body | FlatBody:
    """Return the JSON of a request with values, those in flat lists decoded. Raises MalformedBody or InvalidInput."""
    if len(text) <= CHUNK_BYTES:
        try:
            return FLAT.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # decoded again, for another form or datatype of the values, or the place of the error
    return decode_request(text, Body)


def check_body(requested: Body | FlatBody, manifest: Manifest, max_rows: int) -> Form:
    """Return the form of a request to this model. Raises InvalidInput or LimitExceeded."""
    if len(requested.inputs) > 1:
        check_repeated([tensor.name for tensor in requested.inputs], FIELD)
    parameters = requested.parameters or {}
    binary = _flag(parameters, "binary_data_output", "parameters", default=False) if parameters else False
    inputs = []
    for tensor in requested.inputs:
        spec = input_spec(tensor.name, manifest)
        field = f"{FIELD}.{spec.name}"
        if tensor.parameters:
            check_parameters(tensor.parameters, field)
        check_tensor(tensor.datatype, tensor.shape, spec, max_rows)
        inputs.append(Input(spec, field, tensor))
    outputs = _read_outputs(requested.outputs, binary) if requested.outputs else ()
    return Form(inputs, outputs, parameters, requested.id, binary)


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
