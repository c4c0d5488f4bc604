"""The contents of a folder of published models, `<name>/<version>/`."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from service.errors import InvalidModel
from service.model.manifest import MANIFEST, MAX_MANIFEST_BYTES, NAME, read_plain, sha256

MAX_NAMED = 100
"""The largest number of entries reported that are no versions."""


class Identity(NamedTuple):
    """The name and version of a model."""

    name: str
    version: int

    def __str__(self) -> str:
        """Return `<name>/<version>`."""
        return f"{self.name}/{self.version}"


class Fingerprint(NamedTuple):
    """The state of a version's files, to detect changes."""

    manifest: str
    """SHA-256 of the manifest, which has the digests of all files; empty without a manifest."""
    files: tuple[tuple[str, int, int], ...]
    """Name, bytes and modification time of each file, which show that a copy is in progress or was repaired."""


class Found(NamedTuple):
    """The entries of a folder of models."""

    versions: list[Path]
    """The folders `<name>/<version>/`, by name and number."""
    unlisted: dict[str, str]
    """Entries that cannot be listed, with the reason; they may contain versions."""
    odd: dict[str, str]
    """Other entries, with the reason why they are no versions; at most MAX_NAMED."""


def find_models(folder: Path) -> list[Path]:
    """Return the folders `<name>/<version>/`, by name and number. Raises OSError if the folder cannot be listed."""
    return scan(folder).versions


def scan(folder: Path) -> Found:
    """Return the entries of a folder of models, without hidden ones; a missing folder has none.

    Raises OSError if the folder itself cannot be listed.
    """
    found = Found([], {}, {})
    for name in _visible(_list(folder)):
        if NAME.fullmatch(name):
            _scan_model(folder / name, found)
        else:
            _note(found.odd, name, "is not a model name: expected at most 100 of A-Z a-z 0-9 . _ -")
    return found


def _scan_model(folder: Path, found: Found) -> None:
    try:
        entries = _visible(path.name for path in folder.iterdir())
    except NotADirectoryError:
        _note(found.odd, folder.name, "is not a folder: expected one with a folder for each version")
    except FileNotFoundError:
        if folder.is_symlink():  # else it has just been removed
            _note(found.odd, folder.name, "is a broken link")
    except OSError as error:
        found.unlisted[folder.name] = f"cannot be listed: {error.strerror}"
    else:
        found.versions.extend(folder / version for version in sorted(filter(is_version, entries), key=int))
        for entry in entries:
            if not is_version(entry):
                _note(found.odd, f"{folder.name}/{entry}", "is not a version: expected a folder 1, 2, 3, …")


def is_version(name: str) -> bool:
    """Return whether a name is 1, 2, 3, … with at most nine digits; 01 would duplicate 1 and is none."""
    return name.isascii() and name.isdecimal() and not name.startswith("0") and len(name) < 10


def identify(folder: Path) -> Identity:
    """Return the identity of a version from its folder's path."""
    return Identity(folder.parent.name, int(folder.name))


def fingerprint(folder: Path) -> Fingerprint:
    """Return the current state of a version's files, complete or not."""
    try:
        manifest = sha256(read_plain(folder / MANIFEST, MAX_MANIFEST_BYTES))
    except (OSError, InvalidModel):
        manifest = ""
    try:
        with os.scandir(folder) as entries:
            stats = sorted(_describe(entry) for entry in entries)
    except OSError:
        stats = []
    return Fingerprint(manifest, tuple(stats))


def _describe(entry: "os.DirEntry[str]") -> tuple[str, int, int]:
    try:
        stat = entry.stat()
    except OSError:  # a broken link
        return entry.name, 0, 0
    return entry.name, stat.st_size, stat.st_mtime_ns


def _visible(names: Iterable[str]) -> list[str]:
    """Return names sorted, without hidden ones and those of the file system itself."""
    return sorted(name for name in names if not name.startswith(".") and name != "lost+found")


def _note(problems: dict[str, str], place: str, reason: str) -> None:
    if len(problems) < MAX_NAMED:
        problems[place if place.isprintable() else ascii(place)[1:-1]] = reason


def _list(folder: Path) -> list[str]:
    """Return the names in a folder; none if it is not a folder or has just been removed."""
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
