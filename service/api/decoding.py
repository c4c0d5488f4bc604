"""The JSON of a request → what was asked, or an error that names the field and what was expected.

msgspec decodes and checks types in one go; its messages are put into the caller's words here. While it does,
no other thread runs: so a long body is cut into chunks of rows, and what it holds is counted before it becomes
objects.
"""

import difflib
import json
import math
import re
from codecs import BOM_UTF8
from functools import cache
from typing import Any, TypeVar

import msgspec
import numpy as np

from service.api.requests import MAX_JSON_INTEGER, Ablate, AdaptiveSamples
from service.engine import Steps, finish
from service.errors import InvalidInput, InvalidRequest, LimitExceeded, MalformedBody
from service.inputs import (
    FIELD,
    check_inputs,
    check_names,
    check_row_count,
    describe,
    field_name,
    not_fitting,
    where,
)
from service.manifest import Manifest, TensorSpec
from service.runtime import Array

WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}

CHUNK_BYTES = 2**15
"""Of JSON, decoded at a time: at the very most 2 ms."""

MAX_OPTION_BYTES = 2**18
"""Of all fields but `inputs` together. Bodies no longer than this are told exactly where they hold a NaN."""

MAX_NAMES = 1000
"""Of inputs."""

SECONDS_PER_BYTE = 3e-9
SECONDS_PER_VALUE = 1e-7
"""Of numbers of a digit, which take longest: a list of 200,000 took 19 ms; those of 17 digits take two thirds."""

Request = TypeVar("Request", bound=msgspec.Struct | msgspec.Raw)

STRUCTS: dict[str, type[msgspec.Struct]] = {"samples": AdaptiveSamples, "ablate": Ablate}
"""What stands below a field, to name its fields in errors."""


def decode_request(body: bytes, kind: type[Request]) -> Request:
    """The body as a request of this kind; raises MalformedBody, InvalidInput or LimitExceeded."""
    body = body.removeprefix(BOM_UTF8)
    try:
        if len(body) > MAX_OPTION_BYTES and "inputs" in getattr(kind, "__annotations__", ()):
            return _decode_long(body, kind)
        return _decoder(kind).decode(body)  # type: ignore[no-any-return, arg-type]
    except msgspec.ValidationError as error:
        raise _invalid_field(str(error), kind) from None
    except msgspec.DecodeError as error:
        raise _not_json(error, body) from None
    except UnicodeDecodeError:
        raise MalformedBody("the body is not UTF-8") from None
    except RecursionError:
        raise MalformedBody("the body is nested too deeply") from None


def decode_inputs(raw: msgspec.Raw, manifest: Manifest, max_rows: int) -> dict[str, Array]:
    """`decode_inputs_steps`, all at once."""
    return finish(decode_inputs_steps(raw, manifest, max_rows))


def decode_inputs_steps(raw: msgspec.Raw, manifest: Manifest, max_rows: int) -> Steps[dict[str, Array]]:
    """The JSON of `inputs` → one array (rows, …) an input of the model, in short steps.

    A list of rows for a model of one input; for any model an object with such a list for each input, by
    name. Raises InvalidInput or LimitExceeded.
    """
    by_name = _rows_by_name(raw, manifest)
    check_names(by_name, manifest)
    arrays = {}
    for spec in manifest.inputs:
        arrays[spec.name] = yield from _decode_rows_steps(
            by_name[spec.name], spec, field_name(spec, manifest), max_rows
        )
    return check_inputs(arrays, manifest, max_rows)


def decode_seconds(body: bytes) -> float:
    """About as long as it takes to decode a body."""
    return len(body) * SECONDS_PER_BYTE + count(body, b",") * SECONDS_PER_VALUE


def count(text: bytes | memoryview, character: bytes) -> int:
    """How often one of ASCII stands in a text; in a long one, without keeping other threads from running."""
    if len(text) <= CHUNK_BYTES:
        return bytes(text).count(character)
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == ord(character)))


@cache
def _decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@cache
def _rows_decoder(depth: int, floats: bool) -> msgspec.json.Decoder[Any]:
    """Of a list of rows, each `depth` lists deep; that numbers are numbers is checked while they are read."""
    kind: Any = float if floats else int
    for _ in range(depth + 1):
        kind = list[kind]
    return msgspec.json.Decoder(kind)


@cache
def _raw_decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    """Of the same fields, none of which is looked into."""
    fields = [(name, msgspec.Raw, msgspec.Raw()) for name in kind.__struct_fields__]
    strict = kind.__struct_config__.forbid_unknown_fields
    return msgspec.json.Decoder(msgspec.defstruct(kind.__name__, fields, forbid_unknown_fields=strict))


def _decode_long(body: bytes, kind: type[Request]) -> Request:
    """The fields but `inputs` are decoded only when they are few enough."""
    fields = msgspec.structs.asdict(_raw_decoder(kind).decode(body))
    given = {name: raw for name, raw in fields.items() if memoryview(raw).nbytes}
    inputs = given.get("inputs")
    options = msgspec.json.encode(given | ({"inputs": None} if inputs is not None else {}))
    if len(options) > MAX_OPTION_BYTES:
        message = f"the body: expected at most {MAX_OPTION_BYTES} bytes beside {FIELD}, found {len(options)}"
        raise LimitExceeded(message, given=len(options), limit=MAX_OPTION_BYTES)
    request = _decoder(kind).decode(options)
    request.inputs = inputs
    return request  # type: ignore[no-any-return]


def _rows_by_name(raw: msgspec.Raw, manifest: Manifest) -> dict[str, msgspec.Raw]:
    text = memoryview(raw)
    if text[:1] == b"{" and count(text, b":") <= MAX_NAMES:
        try:
            return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        except UnicodeDecodeError:
            raise MalformedBody(f"{FIELD}: has a name that is not UTF-8", field=FIELD) from None
    if len(manifest.inputs) > 1 or text[:1] == b"{":
        names = ", ".join(spec.name for spec in manifest.inputs)
        raise InvalidInput(f"{FIELD}: expected an object with a list of rows for each of {names}", field=FIELD)
    return {manifest.inputs[0].name: raw}


def _decode_rows_steps(raw: msgspec.Raw, spec: TensorSpec, field: str, max_rows: int) -> Steps[Array]:
    text = memoryview(raw)
    if len(text) <= CHUNK_BYTES or text[:1] != b"[":
        return _decode_rows(raw, spec, field)
    check_row_count(_least_rows(text, spec), field, max_rows)
    rows = _split(raw, field)
    check_row_count(len(rows), field, max_rows)
    arrays = []
    for first, chunk in _chunks(rows):
        yield decode_seconds(body)
        arrays.append(_decode_rows(b"[" + b",".join(chunk) + b"]", spec, field, first))
    return np.concatenate(arrays)


def _invalid_value(error: str, spec: TensorSpec, field: str) -> InvalidInput:
    message, _, path = error.partition(" - at `$")
    place = [int(index) for index in re.findall(r"\[(\d+)\]", path)]
    if message == "Number out of range":
        return not_fitting("one that is too large", place, spec, field)
    details = where(field, place)
    return InvalidInput(f"{details['field']}: {in_words(message)}; expected rows of {describe(spec)}", **details)


def _invalid_field(error: str, kind: type[Request]) -> InvalidInput | MalformedBody:
    message, _, path = error.partition(" - at `$")
    field = path.rstrip("`").removeprefix(".").replace("[...]", "")
    inside = f"{field}." if field else ""
    known = list(getattr(STRUCTS.get(re.split(r"[.\[]", field)[0], kind), "__struct_fields__", ()))
    if (name := _quoted("Object contains unknown field", message)) is not None:
        nearest = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; expected {', '.join(known)}"
        return InvalidInput(f"{inside}{name}: there is no such field{hint}", field=f"{inside}{name}", expected=known)
    if name := _quoted("Object missing required field", message):
        return InvalidInput(f"{inside}{name}: is missing", field=f"{inside}{name}")
    if not field:
        return MalformedBody(f"the body: {in_words(message)}")
    if field == "seed":
        return InvalidInput(f'seed: expected a whole number from 0 to {MAX_JSON_INTEGER}, or "random"', field=field)
    return InvalidInput(f"{field}: {in_words(message)}", field=field)


def _quoted(start: str, message: str) -> str | None:
    match = re.fullmatch(rf"{start} `(.*)`", message, re.DOTALL)
    return match[1] if match else None


def in_words(message: str) -> str:
    """«Expected `int | null`, got `str`» → «expected a whole number, found a string»."""
    if types := re.fullmatch(r"Expected `([^`]*)`, got `([^`]*)`", message):
        expected = [WORDS.get(name, name) for name in types[1].split(" | ") if name != "null"]
        return f"expected {' or '.join(expected)}, found {WORDS.get(types[2], types[2])}"
    if bound := re.fullmatch(r"Expected `([^`]*)` ([<>]=?) (\S+)", message):
        return f"expected {WORDS.get(bound[1].split(' | ')[0], bound[1])} {bound[2]} {bound[3]}"
    return message[:1].lower() + message[1:]


def _not_json(error: msgspec.DecodeError, body: bytes) -> InvalidRequest:
    """NaN and Infinity are not JSON, yet many clients write them: say so, and where."""
    try:
        place = _first_non_finite(json.loads(body))
    except (ValueError, RecursionError):
        place = None
    if place is None:
        return MalformedBody(f"the body is not JSON: {error}")
    names = [part.encode(errors="replace").decode() for part in place if isinstance(part, str)]
    field = ".".join(names) or FIELD
    return not_fitting("NaN or an infinity", [part for part in place if isinstance(part, int)], None, field)


def _first_non_finite(value: Any) -> tuple[str | int, ...] | None:
    if isinstance(value, float) and not math.isfinite(value):
        return ()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if (place := _first_non_finite(item)) is not None:
            return (key, *place)
    return None
