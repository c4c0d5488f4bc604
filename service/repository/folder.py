"""What lies in a folder of published models, `<name>/<version>/`."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from service.errors import InvalidModel
from service.model.manifest import MANIFEST, MAX_MANIFEST_BYTES, NAME, read_plain, sha256

MAX_NAMED = 100
"""Entries without a version that are named."""


class Identity(NamedTuple):
    """Which version of which model."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


class Fingerprint(NamedTuple):
    """Tells whether a version's files have changed."""

    manifest: str
    """SHA-256; it holds the digests of all files, so the same manifest means the same model. Empty: none is there."""
    files: tuple[tuple[str, int, int], ...]
    """Name, bytes and time of change: tells that a copy is still under way, or was mended."""


class Found(NamedTuple):
    """What lies in a folder of models."""

    versions: list[Path]
    """The folders `<name>/<version>/`, by name and number."""
    unlisted: dict[str, str]
    """Entries that cannot be listed, and why. What is in them is not known, which is not the same as nothing."""
    odd: dict[str, str]
    """Other entries in which there is no version, and why; the first of them, if there are many."""


def find_models(folder: Path) -> list[Path]:
    """Return the folders `<name>/<version>/`, by name and number. Raises OSError when the folder cannot be listed."""
    return look_into(folder).versions


def look_into(folder: Path) -> Found:
    """Look at all entries of a folder of models but hidden ones; there may be no such folder.

    Raises OSError when the folder itself cannot be listed.
    """
    found = Found([], {}, {})
    for name in _visible(_list(folder)):
        if NAME.fullmatch(name):
            _look_into_model(folder / name, found)
        else:
            _note(found.odd, name, "is no name of a model: expected at most 100 of A-Z a-z 0-9 . _ -")
    return found


def _look_into_model(folder: Path, found: Found) -> None:
    try:
        entries = _visible(path.name for path in folder.iterdir())
    except NotADirectoryError:
        _note(found.odd, folder.name, "is no folder: expected one with a folder for each version")
    except FileNotFoundError:
        if folder.is_symlink():  # else it has just gone
            _note(found.odd, folder.name, "is a link that leads nowhere")
    except OSError as error:
        found.unlisted[folder.name] = f"cannot be listed: {error.strerror}"
    else:
        found.versions.extend(folder / version for version in sorted(filter(is_version, entries), key=int))
        for entry in entries:
            if not is_version(entry):
                _note(found.odd, f"{folder.name}/{entry}", "is no version: expected a folder 1, 2, 3, …")


def is_version(name: str) -> bool:
    """1, 2, 3, … below a thousand million; not 01, which would be another folder of the same number."""
    return name.isascii() and name.isdecimal() and not name.startswith("0") and len(name) < 10


def identify(folder: Path) -> Identity:
    """By its place."""
    return Identity(folder.parent.name, int(folder.name))


def fingerprint(folder: Path) -> Fingerprint:
    """Of a version's folder as it is now, whatever is in it."""
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
    except OSError:  # a link that leads nowhere
        return entry.name, 0, 0
    return entry.name, stat.st_size, stat.st_mtime_ns


def _visible(names: Iterable[str]) -> list[str]:
    """Return them sorted, without those that are hidden, and what file systems keep for themselves."""
    return sorted(name for name in names if not name.startswith(".") and name != "lost+found")


def _note(problems: dict[str, str], place: str, reason: str) -> None:
    if len(problems) < MAX_NAMED:
        problems[place if place.isprintable() else ascii(place)[1:-1]] = reason


def _list(folder: Path) -> list[str]:
    """Nothing where something else than a folder lies, or what lay there has just gone."""
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
