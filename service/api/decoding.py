"""The JSON of a request → what was asked, or an error that names the field and what was expected.

msgspec decodes and checks types in one go; its messages are put into the caller's words here.
"""

import difflib
import json
import math
import re
from functools import cache
from typing import Any, TypeVar

import msgspec

from service.api.requests import MAX_JSON_INTEGER, Ablate, AdaptiveSamples
from service.errors import InvalidInput, InvalidRequest, MalformedBody
from service.inputs import FIELD, check_inputs, check_names, describe, empty, field_name, not_fitting, to_array, where
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


Request = TypeVar("Request", bound=msgspec.Struct | msgspec.Raw)

STRUCTS: dict[str, type[msgspec.Struct]] = {"samples": AdaptiveSamples, "ablate": Ablate}
"""What stands below a field, to name its fields in errors."""


def decode_request(body: bytes, kind: type[Request]) -> Request:
    """The body as a request of this kind; raises MalformedBody or InvalidInput."""
    try:
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
    """The JSON of `inputs` → one array (rows, …) an input of the model.

    A list of rows for a model of one input; for any model an object with such a list for each input, by
    name. Raises InvalidInput or LimitExceeded.
    """
    by_name = _rows_by_name(raw, manifest)
    check_names(by_name, manifest)
    arrays = {spec.name: _decode_rows(by_name[spec.name], spec, field_name(spec, manifest)) for spec in manifest.inputs}
    return check_inputs(arrays, manifest, max_rows)


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


def _rows_by_name(raw: msgspec.Raw, manifest: Manifest) -> dict[str, msgspec.Raw]:
    if bytes(raw).lstrip()[:1] == b"{":
        try:
            return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        except UnicodeDecodeError:
            raise MalformedBody(f"{FIELD}: has a name that is not UTF-8", field=FIELD) from None
    if len(manifest.inputs) > 1:
        names = ", ".join(spec.name for spec in manifest.inputs)
        raise InvalidInput(f"{FIELD}: expected an object with a list of rows for each of {names}", field=FIELD)
    return {manifest.inputs[0].name: raw}


def _decode_rows(raw: msgspec.Raw, spec: TensorSpec, field: str) -> Array:
    try:
        rows = _rows_decoder(len(spec.shape), spec.dtype.startswith("float")).decode(raw)
    except msgspec.ValidationError as error:
        raise _invalid_value(str(error), spec, field) from None
    except RecursionError:
        raise MalformedBody(f"{field}: is nested too deeply", field=field) from None
    if not rows:
        raise empty(spec, field)
    return to_array(rows, spec, field)


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
