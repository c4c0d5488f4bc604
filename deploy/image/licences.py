"""A CycloneDX bill of materials → a line a package: name, version, licence. `python licences.py sbom.cdx.json`."""

import json
import sys
from pathlib import Path
from typing import Any


def main(bill: Path) -> None:
    """Print the list; a package without a licence in its metadata says so."""
    components = json.loads(bill.read_text())["components"]
    for component in sorted(components, key=lambda one: one["name"].lower()):
        told = sorted({_name(entry) for entry in component.get("licenses", ()) if not _is_file(entry)})
        print(component["name"], component["version"], " AND ".join(told) or "UNKNOWN", sep="\t")  # noqa: T201


def _is_file(entry: dict[str, Any]) -> bool:
    """Whether it is the text of a file, of which the bill knows no name."""
    return str(entry.get("license", {}).get("name", "")).startswith("declared license file: ")


def _name(entry: dict[str, Any]) -> str:
    """An SPDX expression or id, or what the package calls it: of its field `License` the bill has only the text."""
    licence = entry.get("license", {})
    name = str(entry.get("expression") or licence.get("id") or licence.get("name") or "UNKNOWN")
    if name.startswith("declared license of "):
        name = licence["text"]["content"]
    return name.splitlines()[0].removeprefix("License :: OSI Approved :: ")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
