"""Write docs/settings.md from the settings' own docstrings: `python -m tools.docs.make_settings`."""

import ast
import inspect
from functools import cache
from itertools import pairwise
from pathlib import Path

from service import Settings

HEADING = """# Settings

Every setting is an environment variable. `dropserve serve --help` names those that are options too.

| variable | default | meaning |
|---|---|---|
"""


def main() -> None:
    """Write the table."""
    lines = [row(name) for name in Settings.model_fields]
    (Path(__file__).parents[2] / "docs" / "settings.md").write_text(HEADING + "\n".join(lines) + "\n", encoding="utf-8")


def row(name: str) -> str:
    """Return the line of a setting in the table."""
    default = Settings.model_fields[name].default
    shown = "" if default is None else f"`{default}`"
    return f"| `DROPSERVE_{name.upper()}` | {shown} | {meanings()[name]} |"


@cache
def meanings() -> dict[str, str]:
    """Return the docstring of each setting on one line.

    The service itself does not read them, as to find them in the source takes a twentieth of its start.
    """
    (settings,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(settings, ast.ClassDef)
    return {
        field.target.id: " ".join(text.split())
        for field, after in pairwise(settings.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if (text := _docstring(after))
    }


def _docstring(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return str(statement.value.value)
    return None


if __name__ == "__main__":
    main()
