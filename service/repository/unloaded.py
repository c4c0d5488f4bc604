"""The models and versions unloaded by request, until they are loaded by request.

A single process keeps them in memory. The workers of one service share them as a folder of empty files, one for each
entry, so that a change is one atomic creation or removal and the workers notice it as a change of that folder:

    toy      the model, with its future versions
    toy@2    one version
"""

from collections.abc import Iterable
from pathlib import Path

from service.repository.folder import Identity


class Unloaded:
    """A set of entries; `is_unloaded` applies them to an Identity."""

    def __init__(self, folder: Path | None = None) -> None:
        """Keep the entries in a folder, which is created, or without one in memory."""
        self.folder = folder
        self._entries: set[str] = set()
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> frozenset[str]:
        """Return the current entries."""
        if self.folder:
            return frozenset(path.name for path in self.folder.iterdir())
        return frozenset(self._entries)

    def add(self, name: str, version: int | None) -> None:
        """Add a model, or a version of it."""
        self._put(_entry(name, version))

    def discard(self, name: str, version: int | None, versions: Iterable[int]) -> None:
        """Remove a model, or a version of it; `versions` are all versions of the model.

        To remove one version of a model that is unloaded as a whole, its other versions are added in its place.
        """
        entries = {entry for entry in self.read() if entry.partition("@")[0] == name}
        if version is not None:
            for other in set(versions) - {version} if name in entries else ():
                self._put(_entry(name, other))
            entries &= {name, _entry(name, version)}
        for entry in entries:
            self._remove(entry)

    def _put(self, entry: str) -> None:
        self._entries.add(entry)
        if self.folder:
            (self.folder / entry).touch()

    def _remove(self, entry: str) -> None:
        self._entries.discard(entry)
        if self.folder:
            (self.folder / entry).unlink(missing_ok=True)


def is_unloaded(identity: Identity, entries: frozenset[str]) -> bool:
    """Return whether a version is among the entries."""
    return identity.name in entries or _entry(*identity) in entries


def _entry(name: str, version: int | None) -> str:
    return name if version is None else f"{name}@{version}"
