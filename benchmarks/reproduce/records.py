"""The file of results: a JSON record an experiment."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.errors import TrainingError

Record = dict[str, Any]
"""The settings and results of one experiment."""


def check(path: Path) -> None:
    """Raise TrainingError where results cannot be saved; called before hours of work."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8"):
            pass
        if not path.stat().st_size:
            path.unlink()
    except OSError as error:
        raise TrainingError(f"results: {path}: cannot be written: {error.strerror}") from None
    if path.exists():
        read(path)


def save(path: Path, new: Record, key: Callable[[Record], Any]) -> None:
    """Replace the record of the same key, or add one."""
    records = {key(old): old for old in (read(path) if path.exists() else [])} | {key(new): new}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([records[each] for each in sorted(records)], indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> list[Record]:
    """Return the records of a file that `save` wrote; raise TrainingError for another."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"results: {path}: cannot be read: {error}") from None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise TrainingError(f"results: {path}: is not a file of results; name another")
    return records
