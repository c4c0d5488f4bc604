"""The encoding of a text file, the delimiter of its cells, and the decimal mark of its numbers."""

import codecs
import csv
import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from service.errors import InvalidInput, MalformedBody
from service.rows.numbers import Decimal, possible_decimals

DELIMITERS = "\t;,|"
"""The delimiters tried, in this order; the comma comes late, as it is also a decimal mark and common in text."""
BY_NAME = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by byte order mark; UTF-32 precedes UTF-16, whose mark is the beginning of UTF-32's."""
SAMPLE_LINES, SAMPLE_CHARACTERS = 100, 2**18


@dataclass(frozen=True, slots=True)
class Dialect:
    """The options of a text file; those that are None are detected from the file.

    Raises InvalidInput that names the option.
    """

    delimiter: str | None = None
    """One character, or tab, comma, semicolon, pipe or space."""
    decimal: Decimal | None = None
    encoding: str | None = None
    """Python's name of the encoding, such as cp1252; by default utf-8, or that of the byte order mark."""

    @classmethod
    def of(cls, delimiter: str | None, decimal: str | None, encoding: str | None) -> "Dialect":
        """Return the dialect of command-line options. Raises InvalidInput that names the option."""
        marks: dict[str | None, Decimal | None] = {None: None, ".": ".", ",": ","}
        if decimal not in marks:
            raise InvalidInput(f"decimal: expected . or , found {decimal!r}", field="decimal")
        return cls(delimiter, marks[decimal], encoding)

    def __post_init__(self) -> None:
        """Check the options. Raises InvalidInput that names the option."""
        if self.delimiter is not None and (len(self.mark) != 1 or self.mark in '"\r\n0123456789.'):
            raise InvalidInput(
                f"delimiter: expected one character, such as ; or |, or tab; found {self.delimiter!r}",
                field="delimiter",
            )
        if self.encoding is not None and not _is_encoding(self.encoding):
            raise InvalidInput(
                f"encoding: expected one that Python knows, such as utf-8, cp1252 or latin-1; found {self.encoding!r}",
                field="encoding",
            )

    @property
    def mark(self) -> str:
        """The delimiter as a character; empty where it is to be detected."""
        return BY_NAME.get(self.delimiter or "", self.delimiter or "")

    def decode(self, content: bytes) -> str:
        """Return the text of a file, without its byte order mark; raises MalformedBody that names the line."""
        encoding = self.encoding or next((name for bom, name in BOMS.items() if content.startswith(bom)), "utf-8")
        try:
            text = content.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise MalformedBody(
                f"line {line}: is not text in {encoding.removesuffix('-sig').upper()}: {error.reason} at byte"
                f" {error.start}; name the file's encoding with --encoding, such as cp1252"
            ) from None
        if "\0" in text:
            line = text.count("\n", 0, text.index("\0")) + 1
            raise MalformedBody(
                f"line {line}: has NUL characters, which are no text; for UTF-16 use --encoding utf-16-le"
            )
        return text


def find_delimiter(text: str) -> str:
    """Return the delimiter that cuts the first lines into equal numbers of cells, or else the best guess."""
    sample = text[:SAMPLE_CHARACTERS]
    whole = sample if len(sample) == len(text) else sample[: sample.rfind("\n") + 1] or sample
    counts = {mark: _count_cells(whole, mark) for mark in DELIMITERS}
    even = [mark for mark, found in counts.items() if len(set(found)) == 1 and found[0] > 1]
    if even:
        return even[0]
    return max(",;\t|", key=lambda mark: counts[mark][0] if counts[mark] else 0)


class Marks(NamedTuple):
    """Evidence of a file's decimal mark in one of its columns."""

    column: str
    can_be: set[Decimal]
    """The decimal marks with which all cells are numbers."""
    point: str
    """A cell with a point, or empty."""
    comma: str
    """A cell with a comma, or empty."""


def marks_of(column: str, texts: Sequence[str]) -> Marks:
    """Return the evidence in a column's stripped cells, without missing ones."""
    point, comma = (next((text for text in texts if mark in text), "") for mark in ".,")
    return Marks(column, possible_decimals(texts), point, comma)


def find_decimal(wanted: Sequence[Marks], others: Callable[[], Sequence[Marks]]) -> Decimal:
    """Return the decimal mark of a file from its columns; `others` are only read where `wanted` are ambiguous.

    Raises InvalidInput that names columns and option where the mark stays ambiguous, rather than guess a number.
    """
    found = _certain(wanted)
    if len(found) > 1:
        raise _ambiguous(
            f"{found['.'].column} has decimal points, as {found['.'].point}, and {found[','].column} decimal commas, as"
            f" {found[','].comma}"
        )
    found = found or _certain(others())
    decimal = next(iter(found)) if len(found) == 1 else None
    for column in wanted:
        if len(column.can_be) == 2 and column.comma and decimal is None:
            raise _either(column.column, column.comma, ",")
        if len(column.can_be) == 2 and column.point and decimal == ",":
            raise _either(column.column, column.point, ".")  # a point is one of decimals more often than not
    return decimal or "."


def _certain(columns: Sequence[Marks]) -> dict[Decimal, Marks]:
    """Return one column for each mark that is certain."""
    return {next(iter(column.can_be)): column for column in columns if len(column.can_be) == 1}


def _either(column: str, text: str, mark: str) -> InvalidInput:
    return _ambiguous(f"{column}: {text} may be {text.replace(mark, '')} or {text.replace(mark, '.')}")


def _ambiguous(what: str) -> InvalidInput:
    return InvalidInput(f"{what}; set the decimal mark with --decimal . or --decimal ,", field="decimal")


def _count_cells(text: str, mark: str) -> list[int]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True)
    try:
        return [len(cells) for cells in itertools.islice(reader, SAMPLE_LINES) if any(map(str.strip, cells))]
    except csv.Error:
        return []


def _is_encoding(name: str) -> bool:
    try:
        "x".encode(name)
    except (LookupError, ValueError):  # unknown, or no text encoding
        return False
    return True
