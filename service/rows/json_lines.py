"""Read JSON Lines: each line is a row, as an object of columns by name or a list of all values."""

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from service.errors import InvalidInput, MalformedBody
from service.rows.column import Column, Wanted, as_wanted, of_values


class JsonLinesTable:
    """A decoded JSON Lines file; its columns are those of all lines, in order of appearance."""

    def __init__(self, content: bytes, features: Sequence[str] = ()) -> None:
        """Decode all lines; a line that is a list has the values of `features`.

        Raises MalformedBody or InvalidInput that names the line.
        """
        lines = list(numbered_lines(content))
        self._rows = [_decode(number, line, features) for number, line in lines]
        self._lines = np.array([number for number, _ in lines], dtype=np.int64)
        self.names = list(dict.fromkeys(name for row in self._rows for name in row))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self._rows)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.names)

    def read(self, wanted: dict[int, Wanted]) -> list[Column]:
        """Return columns by their numbers; values that are null or absent are missing. See `Table.read`."""
        return [as_wanted(self._column(number), kind) for number, kind in wanted.items()]

    def _column(self, number: int) -> Column:
        name = self.names[number]
        return of_values(name, [row.get(name) for row in self._rows], self._lines)


def numbered_lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield all lines that are not blank, with their numbers from 1."""
    for number, line in enumerate(content.removeprefix(BOM_UTF8).split(b"\n"), 1):
        if line.strip():
            yield number, line


def _decode(number: int, line: bytes, features: Sequence[str]) -> dict[str, Any]:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"line {number}: is not JSON: {error}") from None
    if isinstance(row, dict):
        return row
    if not isinstance(row, list) or not features:
        raise InvalidInput(f"line {number}: expected an object of the columns by name", field=f"line {number}")
    if len(row) != len(features):
        message = f"line {number}: expected {len(features)} values, found {len(row)}"
        raise InvalidInput(message, field=f"line {number}", expected=len(features), found=len(row))
    return dict(zip(features, row, strict=True))
