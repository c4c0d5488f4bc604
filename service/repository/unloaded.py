"""What was unloaded by request, and stays so until it is loaded by request.

One process keeps that in memory. The workers of one service share it as a folder of empty files, one for each
entry, so that a change is one atomic creation or removal and the workers see it as a change of that folder:

    toy      no version of the model is to serve, nor any that comes
    toy@2    this version is not to serve
"""

from collections.abc import Iterable
from pathlib import Path

from service.repository.folder import Identity


class Unloaded:
    """A set of entries; `is_meant` tells what they mean for an Identity."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._entries: set[str] = set()
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> frozenset[str]:
        """The entries as they are now."""
        if self.folder:
            return frozenset(path.name for path in self.folder.iterdir())
        return frozenset(self._entries)

    def add(self, name: str, version: int | None) -> None:
        """Unload a model, or a version of it."""
        self._put(_entry(name, version))

    def discard(self, name: str, version: int | None, versions: Iterable[int]) -> None:
        """Load a model, or a version of it; `versions` are all that there are. Only what is there is removed."""
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


def is_meant(identity: Identity, entries: frozenset[str]) -> bool:
    """Whether a version is among the entries."""
    return identity.name in entries or _entry(*identity) in entries


def _entry(name: str, version: int | None) -> str:
    return name if version is None else f"{name}@{version}"
