"""Rows → a table in Markdown."""

import re
from collections.abc import Iterable, Sequence

SPECIAL = re.compile(r"[\\|`<\[]")
"""Characters that could end a cell, or begin code, HTML or a link."""
CODE = re.compile(r"`[^`|]*`")


def table(header: Iterable[str], rows: Sequence[Sequence[str]]) -> str:
    """With a line for each row; «None.» for no rows.

    A cell is a text, nothing of which breaks the table or the page, or as a whole a span of code.
    """
    if not rows:
        return "None."
    head = tuple(header)
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def escaped(text: str) -> str:
    """On one line, nothing of which is markup."""
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def _cell(text: str) -> str:
    line = " ".join(text.split())
    return line if CODE.fullmatch(line) else escaped(line)


def number(value: float | None) -> str:
    """In four decimal places, of small and large ones in four digits; empty for what is not known."""
    if value is None:
        return ""
    return f"{value:.4f}" if value == 0 or 0.01 <= abs(value) < 1e5 else f"{value:.4g}"
