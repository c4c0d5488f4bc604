"""List name, version and licence of each package in a CycloneDX bill of materials.

`python licences.py sbom.cdx.json`
"""

import json
import sys
from pathlib import Path
from typing import Any


def main(bill: Path) -> None:
    """Print one line per package; a package without a licence in its metadata has UNKNOWN."""
    components = json.loads(bill.read_text())["components"]
    for component in sorted(components, key=lambda one: one["name"].lower()):
        names = sorted({_name(entry) for entry in component.get("licenses", ()) if not _is_file(entry)})
        print(component["name"], component["version"], " AND ".join(names) or "UNKNOWN", sep="\t")  # noqa: T201


def _is_file(entry: dict[str, Any]) -> bool:
    """Return whether an entry is the text of a licence file, for which the bill has no name."""
    return str(entry.get("license", {}).get("name", "")).startswith("declared license file: ")


def _name(entry: dict[str, Any]) -> str:
    """Return an SPDX expression or id, or the name in the package's metadata field `License`."""
    licence = entry.get("license", {})
    name = str(entry.get("expression") or licence.get("id") or licence.get("name") or "UNKNOWN")
    if name.startswith("declared license of "):
        name = licence["text"]["content"]
    return name.splitlines()[0].removeprefix("License :: OSI Approved :: ")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
