"""Rows → a table in Markdown."""

from collections.abc import Iterable, Sequence


def table(header: Iterable[str], rows: Sequence[Sequence[str]]) -> str:
    """With a line for each row; «None.» for no rows."""
    if not rows:
        return "None."
    head = tuple(header)
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None) -> str:
    """In four decimal places, of small and large ones in four digits; empty for what is not known."""
    if value is None:
        return ""
    return f"{value:.4f}" if value == 0 or 0.01 <= abs(value) < 1e5 else f"{value:.4g}"
