"""Turn msgspec's errors about JSON into errors for the caller."""

import re

from service.errors import InvalidInput
from service.model.manifest import TensorSpec
from service.rows.inputs import describe, not_fitting, where

WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def in_words(message: str) -> str:
    """Rephrase a message: «Expected `int | null`, got `str`» becomes «expected a whole number, found a string»."""
    if types := re.fullmatch(r"Expected `([^`]*)`, got `([^`]*)`", message):
        expected = [WORDS.get(name, name) for name in types[1].split(" | ") if name != "null"]
        return f"expected {' or '.join(expected)}, found {WORDS.get(types[2], types[2])}"
    if bound := re.fullmatch(r"Expected `([^`]*)` ([<>]=?) (\S+)", message):
        return f"expected {WORDS.get(bound[1].split(' | ')[0], bound[1])} {bound[2]} {bound[3]}"
    return message[:1].lower() + message[1:]


def quoted(start: str, message: str) -> str | None:
    """Return what a message names in backticks after `start`, or None for another message."""
    match = re.fullmatch(rf"{start} `(.*)`", message, re.DOTALL)
    return match[1] if match else None


def message_and_place(error: str, first: int) -> tuple[str, list[int]]:
    """Split an error into its message and its place, [row, column, …]; `first` is the number of the first row."""
    message, _, path = error.partition(" - at `$")
    place = [int(index) for index in re.findall(r"\[(\d+)\]", path)]
    place[:1] = [first + row for row in place[:1]]
    return message, place


def invalid_value(error: str, spec: TensorSpec, field: str, first: int) -> InvalidInput:
    """Return the error of a value that msgspec could not read as a number."""
    message, place = message_and_place(error, first)
    if message == "Number out of range":
        return not_fitting("one that is too large", place, spec, field)
    details = where(field, place)
    return InvalidInput(f"{details['field']}: {in_words(message)}; expected rows of {describe(spec)}", **details)
