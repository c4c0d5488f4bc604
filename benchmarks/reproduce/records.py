"""The file of results: a record an experiment, in JSON, where others' stay."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.errors import TrainingError

Record = dict[str, Any]
"""One experiment: its settings and what came of it."""


def check(path: Path) -> None:
    """Raises TrainingError where results could not be kept: before hours are spent on them."""
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
    """Put a record in the place of the one of the same key."""
    records = {key(old): old for old in (read(path) if path.exists() else [])} | {key(new): new}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([records[each] for each in sorted(records)], indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> list[Record]:
    """The records of a file that `save` wrote; raises TrainingError for another."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"results: {path}: cannot be read: {error}") from None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise TrainingError(f"results: {path}: is no file of results; name another")
    return records
