"""Decode the JSON of `inputs` to arrays that fit the model; errors name the place and what was expected.

msgspec decodes and checks types at once. Long JSON is cut into chunks of rows, and its rows and values are counted
before they become Python objects.
"""

import math
import re
from functools import cache
from typing import Any

import msgspec
import numpy as np

from service.engine.job import Job
from service.errors import InvalidInput, MalformedBody
from service.model.categories import Categories
from service.model.manifest import Manifest, TensorSpec
from service.model.runtime import Array
from service.rows.inputs import FIELD, check_inputs, check_names, check_row_count, describe, empty, field_name, to_array
from service.rows.json_chunks import CHUNK_BYTES, SPLIT, chunks, count, decode_seconds
from service.rows.json_errors import invalid_value, quoted
from service.rows.named_rows import decode_named_rows

MAX_NAMES = 1000
"""The largest number of names in an object of inputs."""

OPENING = re.compile(rb"(?:\s*\[)+")


def decode_inputs(raw: msgspec.Raw, manifest: Manifest, max_rows: int, job: Job | None = None) -> dict[str, Array]:
    """Decode the JSON of `inputs` to one array (rows, …) for each input of the model, with a pause before each chunk.

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
        arrays[spec.name] = _decode_chunks(
            by_name[spec.name], spec, field_name(spec, manifest), categories, max_rows, job or Job()
        )
    return check_inputs(arrays, manifest, max_rows)


@cache
def _rows_decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _is_short_list(text: memoryview) -> bool:
    """Return whether the text is a list short enough to be decoded at once, as most are."""
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
    """Return the rows of the only input; decoding stops at the first other name.

    Colons cannot be counted here, as names of categories may have many.
    """
    try:
        return {spec.name: _one_field_decoder(spec.name).decode(raw).rows}
    except msgspec.ValidationError as error:
        if (other := quoted("Object contains unknown field", str(error))) is None:
            return {}  # the caller reports it as missing
        return {other: msgspec.Raw()}
    except UnicodeDecodeError:
        raise MalformedBody(f"{FIELD}: has a name that is not UTF-8", field=FIELD) from None


@cache
def _one_field_decoder(name: str) -> msgspec.json.Decoder[Any]:
    fields = [("rows", msgspec.Raw)]
    return msgspec.json.Decoder(
        msgspec.defstruct("OnlyInput", fields, rename={"rows": name}, forbid_unknown_fields=True)
    )


def _decode_chunks(
    raw: msgspec.Raw, spec: TensorSpec, field: str, categories: Categories | None, max_rows: int, job: Job
) -> Array:
    text = memoryview(raw)
    if len(text) <= CHUNK_BYTES or not _may_be_rows(text, spec):
        return _decode_rows(raw, spec, field, categories)  # other values are refused at the first
    lists = _lists_of_row(spec) if categories is None else categories.brackets_of_row
    if (estimate := _estimate_rows(text, lists)) > 2 * max_rows:  # few rows are counted exactly below
        check_row_count(estimate, field, max_rows)
    rows = SPLIT.decode(raw)
    check_row_count(len(rows), field, max_rows)
    arrays: list[Array] = []
    left = decode_seconds(text)
    for first, chunk in chunks(rows):
        job.watch.lap("parse")
        job.pause(left)
        chunk_text = b"[" + b",".join(chunk) + b"]"
        if len(chunk) == 1 and len(chunk_text) > CHUNK_BYTES and categories is None:
            _check_values(chunk_text, spec, f"{field}[{first}]", first)
        arrays.append(_decode_rows(chunk_text, spec, field, categories, first))
        left -= decode_seconds(chunk_text)
    return np.concatenate(arrays)


def _may_be_rows(text: memoryview, spec: TensorSpec) -> bool:
    """Return whether the first row is nested no deeper than a row of the model."""
    opening = OPENING.match(text)
    return opening is not None and opening[0].count(b"[") <= len(spec.shape) + 1


def _lists_of_row(spec: TensorSpec) -> int:
    """Return the number of lists in a row of the model's shape."""
    return sum(math.prod(spec.shape[:depth]) for depth in range(len(spec.shape)))


def _estimate_rows(text: memoryview, lists_of_row: int) -> int:
    """Return the number of rows from the number of lists, or of commas where a row is one number."""
    if not lists_of_row:
        return count(text, b",") + 1
    return -(-(count(text, b"[") - 1) // lists_of_row)


def _check_values(text: bytes, spec: TensorSpec, field: str, row: int) -> None:
    """Raise InvalidInput if a long row has more values than a row of the model."""
    expected, found = math.prod(spec.shape), count(text, b",") + 1
    if found > expected:
        message = f"{field}: expected {describe(spec)}, found {found} values"
        raise InvalidInput(message, field=field, row=row, expected=expected, found=found)


def _decode_rows(
    text: msgspec.Raw | bytes, spec: TensorSpec, field: str, categories: Categories | None, first: int = 0
) -> Array:
    """Decode rows to an array (rows, …); `first` is the number of the first row in the request."""
    if categories is not None:
        return decode_named_rows(text, spec, field, categories, first)
    try:
        rows = _rows_decoder(spec.json_rows).decode(text)
    except msgspec.ValidationError as error:
        raise invalid_value(str(error), spec, field, first) from None
    except RecursionError:
        raise MalformedBody(f"{field}: is nested too deeply", field=field) from None
    if not rows:
        raise empty(spec, field)
    return to_array(rows, spec, field, first)
