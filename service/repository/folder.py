"""What lies in a folder of published models, `<name>/<version>/`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from service.errors import InvalidModel
from service.manifest import MANIFEST, MAX_MANIFEST_BYTES, NAME, read_plain, sha256


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


def find_models(folder: Path) -> Iterator[Path]:
    """The folders `<name>/<version>/`, by name and number; what is hidden is passed over.

    Raises OSError when a folder cannot be listed: what is in it then is not known, which is not the same as nothing.
    """
    for name in sorted(filter(NAME.fullmatch, _list(folder))):
        numbers = sorted(int(version) for version in _list(folder / name) if is_version(version))
        for number in numbers:
            yield folder / name / str(number)


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
            stats = [(entry.name, entry.stat()) for entry in entries]
    except OSError:
        stats = []
    return Fingerprint(manifest, tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)))


def _list(folder: Path) -> list[str]:
    """Nothing where something else than a folder lies, or what lay there has just gone."""
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
