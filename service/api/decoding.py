"""The JSON of a request → what was asked, or an error that names the field and what was expected.

msgspec decodes and checks types in one go; its messages are put into the caller's words here. While it does,
no other thread runs: so a long body is cut into chunks of rows, and what it holds is counted before it becomes
objects.
"""

import difflib
import json
import math
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from functools import cache
from typing import Any, TypeVar

import msgspec
import numpy as np

from service.api.requests import MAX_JSON_INTEGER, Ablate, AdaptiveSamples
from service.categories import Categories
from service.csv_rows import shorten
from service.errors import InvalidInput, InvalidRequest, LimitExceeded, MalformedBody
from service.inputs import (
    FIELD,
    check_inputs,
    check_names,
    check_row_count,
    describe,
    empty,
    field_name,
    not_fitting,
    to_array,
    where,
)
from service.manifest import Manifest, TensorSpec
from service.runtime import Array
from service.steps import OwnSteps, finish

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

NON_FINITE = re.compile(rb"NaN|Infinity")
OPENING = re.compile(rb"(?:\s*\[)+")

OTHERS = {
    BOM_UTF16_LE: "it is UTF-16; expected UTF-8",
    BOM_UTF16_BE: "it is UTF-16; expected UTF-8",
    b"{\0": "it is UTF-16; expected UTF-8",
    b"\0{": "it is UTF-16; expected UTF-8",
    b"\x1f\x8b": "it is gzip, and no content-encoding says so",
}
"""What a body may be by its first bytes."""

Request = TypeVar("Request", bound=msgspec.Struct | msgspec.Raw | dict[str, msgspec.Raw])

STRUCTS: dict[str, type[msgspec.Struct]] = {"samples": AdaptiveSamples, "ablate": Ablate}
"""What stands below a field, to name its fields in errors."""


def decode_request(body: bytes, kind: type[Request]) -> Request:
    """The body as a request of this kind; raises MalformedBody, InvalidInput or LimitExceeded."""
    body = body.removeprefix(BOM_UTF8)
    try:
        if len(body) > MAX_OPTION_BYTES and getattr(kind, "__annotations__", {}).get(FIELD) is msgspec.Raw:
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


def decode_inputs_steps(raw: msgspec.Raw, manifest: Manifest, max_rows: int) -> OwnSteps[dict[str, Array]]:
    """The JSON of `inputs` → one array (rows, …) an input of the model, in short steps.

    A list of rows for a model of one input; for any model an object with such a list for each input, by
    name. Raises InvalidInput or LimitExceeded.
    """
    categories = manifest.categorical
    if len(manifest.inputs) == 1 and _is_short_list(memoryview(raw)):
        spec = manifest.inputs[0]
        return check_inputs({spec.name: _decode_rows(raw, spec, FIELD, categories)}, manifest, max_rows)
    by_name = _rows_by_name(raw, manifest)
    check_names(by_name, manifest)
    arrays = {}
    for spec in manifest.inputs:
        arrays[spec.name] = yield from _decode_rows_steps(
            by_name[spec.name], spec, field_name(spec, manifest), categories, max_rows
        )
    return check_inputs(arrays, manifest, max_rows)


def decode_seconds(body: bytes | memoryview) -> float:
    """About as long as it takes to decode a body's numbers into arrays."""
    return len(body) * SECONDS_PER_BYTE + count(body, b",") * SECONDS_PER_VALUE


def count(text: bytes | memoryview, character: bytes) -> int:
    """How often one of ASCII stands in a text; in a long one, without keeping other threads from running."""
    if len(text) <= CHUNK_BYTES:
        return bytes(text).count(character)
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == ord(character)))


def chunks(rows: list[msgspec.Raw]) -> Iterator[tuple[int, list[msgspec.Raw]]]:
    """Rows of about CHUNK_BYTES together, but one at least; with the number of the first."""
    first, size = 0, 0
    for number, row in enumerate(rows):
        length = memoryview(row).nbytes + 1
        if size and size + length > CHUNK_BYTES:
            yield first, rows[first:number]
            first, size = number, 0
        size += length
    yield first, rows[first:]


SPLIT = msgspec.json.Decoder(list[msgspec.Raw])
"""Into rows that are not looked into."""


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
    fields = msgspec.structs.asdict(_raw_decoder(kind).decode(body))  # type: ignore[arg-type]
    given = {name: raw for name, raw in fields.items() if memoryview(raw).nbytes}
    inputs = given.get(FIELD)
    options = msgspec.json.encode(given | ({FIELD: None} if inputs else {}))
    if len(options) > MAX_OPTION_BYTES:
        message = f"the body: expected at most {MAX_OPTION_BYTES} bytes beside {FIELD}, found {len(options)}"
        raise LimitExceeded(message, given=len(options), limit=MAX_OPTION_BYTES)
    request = _decoder(kind).decode(options)  # type: ignore[arg-type]
    request.inputs = inputs
    return request  # type: ignore[no-any-return]


def _is_short_list(text: memoryview) -> bool:
    """As nearly all are, of which nothing need be known before it is decoded."""
    return len(text) <= CHUNK_BYTES and text[0] == ord("[")


def _rows_by_name(raw: msgspec.Raw, manifest: Manifest) -> dict[str, msgspec.Raw]:
    text = memoryview(raw)
    if bytes(text[:1]) == b"{" and manifest.categories:
        return _only_rows_by_name(raw, manifest.inputs[0])
    if bytes(text[:1]) == b"{" and count(text, b":") <= MAX_NAMES:
        try:
            return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        except UnicodeDecodeError:
            raise MalformedBody(f"{FIELD}: has a name that is not UTF-8", field=FIELD) from None
    if len(manifest.inputs) > 1 or bytes(text[:1]) == b"{":
        names = ", ".join(spec.name for spec in manifest.inputs)
        raise InvalidInput(f"{FIELD}: expected an object with a list of rows for each of {names}", field=FIELD)
    return {manifest.inputs[0].name: raw}


def _only_rows_by_name(raw: msgspec.Raw, spec: TensorSpec) -> dict[str, msgspec.Raw]:
    """Where there may be many colons, in names of categories; decoding ends at the first other name."""
    try:
        return {spec.name: _one_field_decoder(spec.name).decode(raw).rows}
    except msgspec.ValidationError as error:
        if (other := _quoted("Object contains unknown field", str(error))) is None:
            return {}  # it is missing, as will be told
        return {other: msgspec.Raw()}
    except UnicodeDecodeError:
        raise MalformedBody(f"{FIELD}: has a name that is not UTF-8", field=FIELD) from None


@cache
def _one_field_decoder(name: str) -> msgspec.json.Decoder[Any]:
    fields = [("rows", msgspec.Raw)]
    return msgspec.json.Decoder(
        msgspec.defstruct("OnlyInput", fields, rename={"rows": name}, forbid_unknown_fields=True)
    )


def _decode_rows_steps(
    raw: msgspec.Raw, spec: TensorSpec, field: str, categories: Categories | None, max_rows: int
) -> OwnSteps[Array]:
    text = memoryview(raw)
    if len(text) <= CHUNK_BYTES or not _may_be_rows(text, spec):
        return _decode_rows(raw, spec, field, categories)  # what are no rows is refused at the first
    lists = _lists_of_row(spec) if categories is None else categories.brackets_of_row
    if (estimate := _estimate_rows(text, lists)) > 2 * max_rows:  # they may be counted exactly where they are few
        check_row_count(estimate, field, max_rows)
    rows = SPLIT.decode(raw)
    check_row_count(len(rows), field, max_rows)
    arrays: list[Array] = []
    left = decode_seconds(text)
    for first, chunk in chunks(rows):
        yield left
        chunk_text = b"[" + b",".join(chunk) + b"]"
        if len(chunk) == 1 and len(chunk_text) > CHUNK_BYTES and categories is None:
            _check_values(chunk_text, spec, f"{field}[{first}]", first)
        arrays.append(_decode_rows(chunk_text, spec, field, categories, first))
        left -= decode_seconds(chunk_text)
    return np.concatenate(arrays)


def _may_be_rows(text: memoryview, spec: TensorSpec) -> bool:
    """Whether the first row is not nested deeper than a row of the model; a shallower one is seen at once."""
    opening = OPENING.match(text)
    return opening is not None and opening[0].count(b"[") <= len(spec.shape) + 1


def _lists_of_row(spec: TensorSpec) -> int:
    """How many lists a row of the model's shape is made of."""
    return sum(math.prod(spec.shape[:depth]) for depth in range(len(spec.shape)))


def _estimate_rows(text: memoryview, lists_of_row: int) -> int:
    """How many rows have as many lists, or for single numbers as many commas."""
    if not lists_of_row:
        return count(text, b",") + 1
    return -(-(count(text, b"[") - 1) // lists_of_row)


def _check_values(text: bytes, spec: TensorSpec, field: str, row: int) -> None:
    """Raises InvalidInput when a long row has more values than a row of the model."""
    expected, found = math.prod(spec.shape), count(text, b",") + 1
    if found > expected:
        message = f"{field}: expected {describe(spec)}, found {found} values"
        raise InvalidInput(message, field=field, row=row, expected=expected, found=found)


def _decode_rows(
    text: msgspec.Raw | bytes, spec: TensorSpec, field: str, categories: Categories | None, first: int = 0
) -> Array:
    """Rows from the number `first` on."""
    if categories is not None:
        return _decode_named_rows(text, spec, field, categories, first)
    try:
        rows = _rows_decoder(len(spec.shape), spec.dtype.startswith("float")).decode(text)
    except msgspec.ValidationError as error:
        raise _invalid_value(str(error), spec, field, first) from None
    except RecursionError:
        raise MalformedBody(f"{field}: is nested too deeply", field=field) from None
    if not rows:
        raise empty(spec, field)
    return to_array(rows, spec, field, first)


def _decode_named_rows(
    text: msgspec.Raw | bytes, spec: TensorSpec, field: str, categories: Categories, first: int
) -> Array:
    """Rows of numbers and names of categories."""
    try:
        rows = _named_rows_decoder(len(categories.features), categories.columns).decode(text)
    except msgspec.ValidationError as error:
        raise _invalid_named_value(str(error), text, spec, field, categories, first) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MalformedBody(f"{field}: has a name that is not UTF-8", field=field) from None
    if not rows:
        raise empty(spec, field)
    return categories.to_numbers(rows, field, first)


@cache
def _named_rows_decoder(features: int, columns: tuple[int, ...]) -> msgspec.json.Decoder[Any]:
    """Of rows of so many values, numbers but in the columns of categories; it ends at the first other value."""
    values = [float | str | bool if column in columns else float for column in range(features)]
    return msgspec.json.Decoder(list[tuple[tuple(values)]])  # type: ignore[misc]


def _invalid_named_value(
    error: str, text: msgspec.Raw | bytes, spec: TensorSpec, field: str, categories: Categories, first: int
) -> InvalidInput:
    message, place = _message_and_place(error, first)
    if message.startswith("Expected `array` of length"):
        return _wrong_length(SPLIT.decode(text)[place[0] - first], field, place, categories)
    if message == "Number out of range":
        return _invalid_value(error, spec, field, first)
    details = where(field, place)
    if len(place) < 2:
        told = f"{details['field']}: {in_words(message)}; a row is a list of {shorten(categories.features)}"
        return InvalidInput(told, **details)
    if category := categories.by_column.get(place[1]):
        found = in_words(message).rpartition("found ")[2]
        return category.refusal(found, **details)
    feature = categories.features[place[1]]
    return InvalidInput(f"{details['field']}: {feature}: {in_words(message)}", **details, feature=feature)


def _wrong_length(row: msgspec.Raw, field: str, place: list[int], categories: Categories) -> InvalidInput:
    """Of a long one the values are not counted, as their names may be anything."""
    expected, details = len(categories.features), where(field, place)
    told = f"{details['field']}: expected {expected} values"
    if memoryview(row).nbytes <= CHUNK_BYTES:
        details |= {"expected": expected, "found": (found := len(SPLIT.decode(row)))}
        told += f", found {found}"
    return InvalidInput(f"{told}; a row is {shorten(categories.features)}", **details)


def _message_and_place(error: str, first: int) -> tuple[str, list[int]]:
    message, _, path = error.partition(" - at `$")
    place = [int(index) for index in re.findall(r"\[(\d+)\]", path)]
    place[:1] = [first + row for row in place[:1]]
    return message, place


def _invalid_value(error: str, spec: TensorSpec, field: str, first: int) -> InvalidInput:
    message, place = _message_and_place(error, first)
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
    """Tell what it is instead, where that can be told."""
    if not body.strip():
        return MalformedBody("the body is empty; expected JSON")
    for start, found in OTHERS.items():
        if body.startswith(start):
            return MalformedBody(f"the body is not JSON: {found}")
    return _non_finite(error, body) or MalformedBody(f"the body is not JSON: {error}")


def _non_finite(error: msgspec.DecodeError, body: bytes) -> InvalidInput | None:
    """NaN and Infinity are not JSON, yet many clients write them: say so, and where."""
    if len(body) > MAX_OPTION_BYTES:
        byte = int(found[1]) if (found := re.search(r"\(byte (\d+)\)", str(error))) else 0
        if not NON_FINITE.match(body, byte):
            return None
        return InvalidInput(f"the body: expected finite numbers, found NaN or an infinity at byte {byte}", byte=byte)
    try:
        place = _first_non_finite(json.loads(body))
    except (ValueError, RecursionError):
        place = None
    if place is None:
        return None
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
