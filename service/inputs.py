"""What a caller sent → arrays that fit the model, or an error that names the field, the row and what was expected."""

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec
import numpy as np

from service.errors import InvalidInput, LimitExceeded, MalformedBody
from service.manifest import Manifest, TensorSpec
from service.runtime import Array

FIELD = "inputs"
JSON_NAMES = {"float": "a number", "int": "a whole number", "array": "a list", "object": "an object", "str": "a string"}


def decode_inputs(raw: bytes, manifest: Manifest, max_rows: int) -> dict[str, Array]:
    """The JSON of `inputs` → one array (rows, …) an input of the model.

    A list of rows for a model of one input; an object of such lists, by name, for any model. Raises
    InvalidInput, LimitExceeded or MalformedBody.
    """
    if raw.lstrip()[:1] == b"{":
        by_name = _decode_object(raw)
        _check_names(by_name, manifest)
        arrays = {spec.name: _decode_rows(by_name[spec.name], spec, f"{FIELD}.{spec.name}") for spec in manifest.inputs}
    elif len(manifest.inputs) == 1:
        spec = manifest.inputs[0]
        arrays = {spec.name: _decode_rows(raw, spec, FIELD)}
    else:
        names = ", ".join(spec.name for spec in manifest.inputs)
        raise InvalidInput(f"inputs: expected an object with a list of rows for each of: {names}", field=FIELD)
    return check_inputs(arrays, manifest, max_rows)


def check_inputs(arrays: Mapping[str, Array], manifest: Manifest, max_rows: int) -> dict[str, Array]:
    """Arrays by input name → the same in the model's types, checked for names, shapes, rows and finite values."""
    _check_names(arrays, manifest)
    single = len(manifest.inputs) == 1
    checked = {}
    for spec in manifest.inputs:
        field = FIELD if single else f"{FIELD}.{spec.name}"
        checked[spec.name] = _check_array(arrays[spec.name], spec, field, max_rows)
    rows = {name: len(array) for name, array in checked.items()}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise InvalidInput(f"inputs: expected as many rows for each input; {counts}", field=FIELD, rows=rows)
    return checked


def _check_names(given: Mapping[str, object], manifest: Manifest) -> None:
    expected = [spec.name for spec in manifest.inputs]
    for name in given:
        if name not in expected:
            raise InvalidInput(
                f"inputs.{name}: the model has no such input; it has {', '.join(expected)}",
                field=f"{FIELD}.{name}",
                expected=expected,
            )
    for name in expected:
        if name not in given:
            raise InvalidInput(f"inputs.{name}: is missing", field=f"{FIELD}.{name}", expected=expected)


def _decode_object(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise MalformedBody(f"inputs: {error}", field=FIELD) from None


def _decode_rows(raw: bytes | msgspec.Raw, spec: TensorSpec, field: str) -> Array:
    try:
        rows = _rows_decoder(len(spec.shape), spec.dtype.startswith("float")).decode(raw)
    except msgspec.ValidationError as error:
        raise _invalid_value(error, bytes(raw), spec, field) from None
    except msgspec.DecodeError as error:
        raise _not_json(error, bytes(raw), spec, field) from None
    if not rows:
        raise InvalidInput(f"{field}: is empty; expected at least one row of {describe(spec)}", field=field)
    try:
        return np.array(rows, dtype=spec.dtype)
    except (ValueError, OverflowError):
        raise _misshapen(rows, spec, field) from None


@cache
def _rows_decoder(depth: int, floats: bool) -> msgspec.json.Decoder[Any]:
    """Of a list of rows, each `depth` lists deep; numbers are checked to be numbers while they are read."""
    kind: Any = float if floats else int
    for _ in range(depth + 1):
        kind = list[kind]
    return msgspec.json.Decoder(kind)


def _check_array(array: Array, spec: TensorSpec, field: str, max_rows: int) -> Array:
    if array.ndim == 0 or len(array) == 0:
        raise InvalidInput(f"{field}: is empty; expected at least one row of {describe(spec)}", field=field)
    if len(array) > max_rows:
        raise LimitExceeded(
            f"{field}: has {len(array)} rows; this service takes {max_rows} a request",
            field=field,
            given=len(array),
            limit=max_rows,
        )
    if array.shape[1:] != spec.shape:
        raise _misshapen(array.tolist(), spec, field)
    if array.dtype.kind not in "fiub" or (spec.dtype.startswith("int") and array.dtype.kind == "f"):
        raise InvalidInput(f"{field}: expected values of type {spec.dtype}, not {array.dtype}", field=field)
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes inf, which is refused below
        converted = np.ascontiguousarray(array, dtype=spec.dtype)
    if spec.dtype.startswith("float") and not np.isfinite(converted).all():
        raise _not_finite(array, np.argwhere(~np.isfinite(converted))[0].tolist(), spec, field)
    return converted


def describe(spec: TensorSpec) -> str:
    """What a row looks like, in words: «64 numbers», «28×28 numbers»."""
    kind = "numbers" if spec.dtype.startswith("float") else "whole numbers"
    return f"{'×'.join(str(size) for size in spec.shape)} {kind}" if spec.shape else kind.removesuffix("s")


def _misshapen(rows: list[Any], spec: TensorSpec, field: str) -> InvalidInput:
    """Name the first place where the nested lists are not of the row's shape."""
    place, found, expected = _first_misfit(rows, (len(rows), *spec.shape), ())
    return InvalidInput(
        f"{field}{_subscripts(place)}: expected {_values(expected)}, found {_values(found)};"
        f" a row is {describe(spec)}",
        **_where(field, place),
        expected=expected,
        found=found,
    )


def _first_misfit(value: Any, shape: tuple[int, ...], place: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
    if not isinstance(value, list):
        return place, 1, shape[0] if shape else 1
    if not shape or len(value) != shape[0]:
        return place, len(value), shape[0] if shape else 1
    for index, item in enumerate(value):
        if len(shape) > 1 or isinstance(item, list):
            found = _first_misfit(item, shape[1:], (*place, index))
            if found[1] != found[2]:
                return found
    return place, len(value), shape[0]


def _invalid_value(error: msgspec.ValidationError, raw: bytes, spec: TensorSpec, field: str) -> InvalidInput:
    message, _, path = str(error).partition(" - at `$")
    place = tuple(int(index) for index in re.findall(r"\[(\d+)\]", path))
    if "out of range" in message:
        return _not_finite(None, list(place), spec, field)
    types = re.fullmatch(r"Expected `([^`]*)`, got `([^`]*)`", message)
    reason = f"expected {_json_name(types[1])}, found {_json_name(types[2])}" if types else message.lower()
    return InvalidInput(
        f"{field}{_subscripts(place)}: {reason}; expected rows of {describe(spec)}", **_where(field, place)
    )


def _not_json(error: msgspec.DecodeError, raw: bytes, spec: TensorSpec, field: str) -> InvalidInput | MalformedBody:
    """NaN and Infinity are not JSON, yet many clients write them; say so, and where."""
    try:
        place = _first_where(json.loads(raw), lambda value: isinstance(value, float) and not math.isfinite(value))
    except (ValueError, RecursionError):
        place = None
    if place is None:
        return MalformedBody(f"{field}: {error}", field=field)
    return _not_finite(None, list(place), spec, field)


def _not_finite(array: Array | None, place: list[int], spec: TensorSpec, field: str) -> InvalidInput:
    found = "NaN, an infinity or a number too large" if array is None else f"{array[tuple(place)]}"
    return InvalidInput(
        f"{field}{_subscripts(place)}: found {found}; expected a finite number that fits {spec.dtype}",
        **_where(field, place),
    )


def _first_where(value: Any, wanted: Callable[[Any], bool]) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return () if wanted(value) else None
    for index, item in enumerate(value):
        if (found := _first_where(item, wanted)) is not None:
            return (index, *found)
    return None


def _where(field: str, place: tuple[int, ...] | list[int]) -> dict[str, Any]:
    """The place of an error for programs: the field with its subscripts, and the row by itself."""
    details: dict[str, Any] = {"field": f"{field}{_subscripts(place)}"}
    return details | ({"row": place[0]} if place else {})


def _subscripts(place: tuple[int, ...] | list[int]) -> str:
    return "".join(f"[{index}]" for index in place)


def _values(count: int) -> str:
    return f"{count} value{'' if count == 1 else 's'}"


def _json_name(name: str) -> str:
    return JSON_NAMES.get(name, name)
