"""Format tables, text and numbers as Markdown."""

import re
from collections.abc import Iterable, Sequence

SPECIAL = re.compile(r"[\\|`<\[]")
"""Characters that could end a cell, or begin code, HTML or a link."""
CODE = re.compile(r"`[^`|]*`")
"""A code span."""


def table(header: Iterable[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with a line for each row; «None.» for no rows.

    A cell is plain text, escaped so that it cannot break the table or the page, or as a whole a code span.
    """
    if not rows:
        return "None."
    head = tuple(header)
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def escaped(text: str) -> str:
    """Return the text on one line, with markup escaped."""
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def _cell(text: str) -> str:
    line = " ".join(text.split())
    return line if CODE.fullmatch(line) else escaped(line)


def number(value: float | None) -> str:
    """Return four decimal places, or four digits for small and large numbers; empty for None."""
    if value is None:
        return ""
    return f"{value:.4f}" if value == 0 or 0.01 <= abs(value) < 1e5 else f"{value:.4g}"
