"""Decode JSON rows of numbers and category names to the network's numbers."""

from functools import cache
from typing import Any

import msgspec

from service.errors import InvalidInput, MalformedBody
from service.model.categories import Categories
from service.model.manifest import TensorSpec
from service.model.runtime import Array
from service.rows.inputs import empty, shorten, where
from service.rows.json_chunks import CHUNK_BYTES, SPLIT
from service.rows.json_errors import in_words, invalid_value, message_and_place


def decode_named_rows(
    text: msgspec.Raw | bytes, spec: TensorSpec, field: str, categories: Categories, first: int
) -> Array:
    """Decode a JSON list of rows to an array (rows, features), names replaced by their numbers.

    `first` is the number of the first row in the request. Raises InvalidInput or MalformedBody.
    """
    try:
        decoder = _named_rows_decoder(len(categories.features), categories.columns, categories.may_be_missing)
        rows = decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _invalid_named_value(str(error), text, spec, field, categories, first) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MalformedBody(f"{field}: has a name that is not UTF-8", field=field) from None
    if not rows:
        raise empty(spec, field)
    return categories.to_numbers(rows, field, first)


@cache
def _named_rows_decoder(features: int, columns: tuple[int, ...], may_be_missing: bool) -> msgspec.json.Decoder[Any]:
    """Return a decoder of rows with this many values, which stops at the first value of a wrong type."""
    values: list[Any] = [float | str | bool if column in columns else float for column in range(features)]
    values = [value | None for value in values] if may_be_missing else values
    return msgspec.json.Decoder(list[tuple[tuple(values)]])  # type: ignore[misc]


def _invalid_named_value(
    error: str, text: msgspec.Raw | bytes, spec: TensorSpec, field: str, categories: Categories, first: int
) -> InvalidInput:
    message, place = message_and_place(error, first)
    if message.startswith("Expected `array` of length"):
        return _wrong_length(SPLIT.decode(text)[place[0] - first], field, place, categories)
    if message == "Number out of range":
        return invalid_value(error, spec, field, first)
    details = where(field, place)
    if len(place) < 2:
        message = f"{details['field']}: {in_words(message)}; a row is a list of {shorten(categories.features)}"
        return InvalidInput(message, **details)
    if category := categories.by_column.get(place[1]):
        found = in_words(message).rpartition("found ")[2]
        return category.refusal(found, **details)
    feature = categories.features[place[1]]
    return InvalidInput(f"{details['field']}: {feature}: {in_words(message)}", **details, feature=feature)


def _wrong_length(row: msgspec.Raw, field: str, place: list[int], categories: Categories) -> InvalidInput:
    """Return the error of a row of a wrong length; the values of a long row are not counted."""
    expected, details = len(categories.features), where(field, place)
    message = f"{details['field']}: expected {expected} values"
    if memoryview(row).nbytes <= CHUNK_BYTES:
        details |= {"expected": expected, "found": (found := len(SPLIT.decode(row)))}
        message += f", found {found}"
    return InvalidInput(f"{message}; a row is {shorten(categories.features)}", **details)
