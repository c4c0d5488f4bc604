"""Write docs/settings.md from the settings' own docstrings: `python -m tools.docs.make_settings`."""

from pathlib import Path

from service import Settings

HEADING = """# Settings

Every setting is an environment variable. `dropserve serve --help` names those that are options too.

| variable | default | meaning |
|---|---|---|
"""


def main() -> None:
    """Write the table."""
    lines = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        meaning = " ".join((field.description or "").split())
        lines.append(f"| `DROPSERVE_{name.upper()}` | {default} | {meaning} |")
    (Path(__file__).parents[2] / "docs" / "settings.md").write_text(HEADING + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
