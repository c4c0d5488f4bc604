"""Check a caller's arrays against the model's inputs; errors name the field, the row and what was expected."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from service.errors import InvalidInput, LimitExceeded
from service.model.manifest import INT64, Manifest, TensorSpec
from service.model.runtime import Array

FIELD = "inputs"


def check_inputs(arrays: Mapping[str, Array], manifest: Manifest, max_rows: int) -> dict[str, Array]:
    """Return the arrays (rows, …) in the model's types, by input name.

    Raises InvalidInput for wrong names, shapes, row counts, categories, ranges or values that are not finite, and
    LimitExceeded for more than `max_rows` rows.
    """
    check_names(arrays, manifest)
    checked = {
        spec.name: _check_array(arrays[spec.name], spec, field_name(spec, manifest), max_rows)
        for spec in manifest.inputs
    }
    if len(checked) > 1:
        check_row_counts({name: len(array) for name, array in checked.items()})
    if categories := manifest.categorical:
        categories.check(checked[manifest.inputs[0].name], FIELD)
    for spec in manifest.inputs:
        if spec.limits:
            _check_limits(checked[spec.name], spec.limits, spec, field_name(spec, manifest))
    return checked


def check_names(given: Mapping[str, object], manifest: Manifest) -> None:
    """Raise InvalidInput unless the names given are exactly those of the model's inputs."""
    expected = [spec.name for spec in manifest.inputs]
    if list(given) == expected:
        return
    for name in given:
        if name not in expected:
            raise InvalidInput(
                f"{FIELD}.{name}: the model has no such input; it has {', '.join(expected)}",
                field=f"{FIELD}.{name}",
                expected=expected,
            )
    for name in expected:
        if name not in given:
            raise InvalidInput(f"{FIELD}.{name}: is missing", field=f"{FIELD}.{name}", expected=expected)


def check_row_counts(rows: Mapping[str, int]) -> None:
    """Raise InvalidInput unless all inputs have the same number of rows."""
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise InvalidInput(f"{FIELD}: expected as many rows for each input; {counts}", field=FIELD, rows=dict(rows))


def field_name(spec: TensorSpec, manifest: Manifest) -> str:
    """Return the name of an input in requests: `inputs`, or `inputs.<name>` where there are several."""
    return FIELD if len(manifest.inputs) == 1 else f"{FIELD}.{spec.name}"


def describe(spec: TensorSpec) -> str:
    """Return a row's form in words: «64 numbers», «28×28 numbers»."""
    kind = "number" if spec.dtype.startswith("float") else "whole number"
    if not spec.shape:
        return f"one {kind}"
    return f"{'×'.join(map(str, spec.shape))} {kind}{'' if spec.shape == (1,) else 's'}"


def to_array(rows: Sequence[Any], spec: TensorSpec, field: str, first: int = 0) -> Array:
    """Return nested lists of numbers as an array (rows, …), in float64 or int64.

    `first` is the number of the first row in the request. Raises InvalidInput that names the first misshapen place.
    """
    kind = np.float64 if spec.dtype.startswith("float") else np.int64
    try:
        array = np.array(rows, dtype=kind)
    except OverflowError:
        array = np.array(rows, dtype=object)  # whole numbers beyond 64 bits, refused by the range check
    except ValueError:
        raise _misshapen(rows, spec, field, first) from None
    if array.shape[1:] != spec.shape:
        raise _misshapen(rows, spec, field, first)
    return array


def not_fitting(found: object, place: Sequence[int], spec: TensorSpec | None, field: str) -> InvalidInput:
    """Return the error of a NaN, an infinity, or a number that the model's type cannot hold."""
    kind = "whole" if spec and spec.dtype.startswith("int") else "finite"
    fits = f" that fits {spec.dtype}" if spec else ""
    return InvalidInput(
        f"{field}{subscripts(place)}: expected a {kind} number{fits}, found {found}", **where(field, place)
    )


def where(field: str, place: Sequence[int]) -> dict[str, Any]:
    """Return the place of an error as details: the field with its subscripts, and the row by itself."""
    details: dict[str, Any] = {"field": f"{field}{subscripts(place)}"}
    return details | ({"row": place[0]} if place else {})


def subscripts(place: Sequence[int]) -> str:
    """Return indices as subscripts: `[2][3]`."""
    return "".join(f"[{index}]" for index in place)


def empty(spec: TensorSpec, field: str) -> InvalidInput:
    """Return the error of a request without rows."""
    return InvalidInput(f"{field}: is empty; expected at least one row of {describe(spec)}", field=field)


def check_row_count(found: int, field: str, max_rows: int) -> None:
    """Raise LimitExceeded for more rows than are allowed."""
    if found > max_rows:
        message = f"{field}: expected at most {max_rows} rows, found {found}"
        raise LimitExceeded(message, field=field, given=found, limit=max_rows)


def shorten(names: Sequence[str]) -> str:
    """Return the first few names, for a message."""
    return ", ".join(names[:8]) + ("…" if len(names) > 8 else "")


def _check_array(array: Array, spec: TensorSpec, field: str, max_rows: int) -> Array:
    if array.ndim != len(spec.shape) + 1:
        raise InvalidInput(
            f"{field}: expected {len(spec.shape) + 1} dimensions, rows of {describe(spec)}; found {array.ndim}",
            field=field,
            expected=len(spec.shape) + 1,
            found=array.ndim,
        )
    if len(array) == 0:
        raise empty(spec, field)
    check_row_count(len(array), field, max_rows)
    if array.shape[1:] != spec.shape:
        raise _misshapen(array.tolist(), spec, field)
    if array.dtype.kind not in ("fiu" if spec.dtype.startswith("float") else "iuO"):
        raise InvalidInput(f"{field}: expected values of type {spec.dtype}, found {array.dtype}", field=field)
    return _convert(array, spec, field)


def _convert(array: Array, spec: TensorSpec, field: str) -> Array:
    """Return the array in the model's type. Raises InvalidInput for a value that does not fit it."""
    if spec.dtype.startswith("float"):
        with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite, and is refused as such
            converted = np.ascontiguousarray(array, dtype=spec.dtype)
        fits = ~np.isinf(converted) if spec.imputation else np.isfinite(converted)
    else:
        limits = np.iinfo(spec.dtype)
        fits = np.asarray((array >= limits.min) & (array <= limits.max), dtype=bool)
        converted = np.ascontiguousarray(np.where(fits, array, 0), dtype=spec.dtype)
    if not fits.all():
        place = np.argwhere(~fits)[0].tolist()
        raise not_fitting(array[tuple(place)], place, spec, field)
    return converted


def _check_limits(array: Array, limits: tuple[Array, Array], spec: TensorSpec, field: str) -> None:
    """Raise InvalidInput unless all values (rows, …), truncated to whole numbers, are within the limits."""
    whole = np.trunc(array) if array.dtype.kind == "f" else array
    wrong = (whole < limits[0]) | (whole > limits[1])
    if wrong.any():
        place = np.argwhere(wrong)[0].tolist()
        lowest, highest = (_known(np.broadcast_to(limit, spec.shape)[tuple(place[1:])].item()) for limit in limits)
        details = where(field, place) | {"lowest": lowest, "highest": highest}
        message = f"expected a whole number {_within(lowest, highest)}, found {array[tuple(place)]}"
        raise InvalidInput(f"{field}{subscripts(place)}: {message}", **details)


def _within(lowest: int | None, highest: int | None) -> str:
    if lowest is None:
        return f"of at most {highest}"
    return f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"


def _known(limit: float) -> int | None:
    """Return a limit, or None where it is merely that of the type."""
    return int(limit) if INT64.min < limit < INT64.max else None


def _misshapen(rows: Sequence[Any], spec: TensorSpec, field: str, first: int = 0) -> InvalidInput:
    """Return the error of the first place where the nested lists do not have the row's shape."""
    place, found, expected = _first_misfit(rows, (len(rows), *spec.shape), ())
    if place:
        place = (first + place[0], *place[1:])
    return InvalidInput(
        f"{field}{subscripts(place)}: expected {_values(expected)}, found {_values(found)}; a row is {describe(spec)}",
        **where(field, place),
        expected=expected,
        found=found,
    )


def _first_misfit(value: Any, shape: tuple[int, ...], place: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
    """Return the place of the first list of a wrong length, its length, and the expected length."""
    length = len(value) if isinstance(value, list) else 1
    expected = shape[0] if shape else 1
    if length == expected and isinstance(value, list):
        for index, item in enumerate(value):
            misfit = _first_misfit(item, shape[1:], (*place, index)) if isinstance(item, list) or shape[1:] else None
            if misfit and misfit[1] != misfit[2]:
                return misfit
    return place, length, expected


def _values(count: int) -> str:
    return f"{count} value{'' if count == 1 else 's'}"
