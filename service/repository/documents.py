"""What a version has for people to read: its card, its plots and its behaviour report.

No path is made of a request: a name is one of those here, or one in the manifest of the version that serves. Of what
the manifest lists, only bytes that agree with their digest are given. A behaviour report may be written long after
its model was published, and then lies beside it unlisted.
"""

from pathlib import Path
from typing import NamedTuple

from service.errors import InvalidModel, NotReady, UnknownFile
from service.model.manifest import Manifest, read_file, read_plain

CARD = "MODEL_CARD.md"
BEHAVIOUR = "behaviour.html"
PLOT = ".svg"

MAX_DOCUMENT_BYTES = 2**23


class Documents(NamedTuple):
    """What there is to read of a version."""

    folder: Path
    """Where its files lie."""
    manifest: Manifest
    """That of the version that serves, which need not be the one that lies there now."""

    @property
    def place(self) -> str:
        """As messages name the version."""
        return f"{self.manifest.name}/{self.manifest.version}"

    @property
    def plots(self) -> list[str]:
        """Their names."""
        return [name for name in self.manifest.files if name.endswith(PLOT)]

    @property
    def has_card(self) -> bool:
        """Whether it was published with one."""
        return CARD in self.manifest.files

    @property
    def has_behaviour(self) -> bool:
        """Whether a report lies there."""
        return BEHAVIOUR in self.manifest.files or (self.folder / BEHAVIOUR).is_file()

    def read_card(self) -> bytes:
        """Markdown. Raises UnknownFile or NotReady."""
        if not self.has_card:
            raise UnknownFile(f"{self.place} has no model card: it was published without {CARD}", file=CARD)
        return self._read_listed(CARD)

    def read_plot(self, name: str) -> bytes:
        """SVG. Raises UnknownFile or NotReady."""
        if name not in self.plots:
            there = ", ".join(self.plots) or "none"
            raise UnknownFile(f"{self.place} has no such plot; there are: {there}", file=name, expected=self.plots)
        return self._read_listed(name)

    def read_behaviour(self) -> bytes:
        """HTML. Raises UnknownFile or NotReady."""
        if BEHAVIOUR in self.manifest.files:
            return self._read_listed(BEHAVIOUR)
        try:
            return read_plain(self.folder / BEHAVIOUR, MAX_DOCUMENT_BYTES)
        except OSError:
            message = f"{self.place} has no behaviour report; `dropserve behaviour` makes one"
            raise UnknownFile(message, file=BEHAVIOUR) from None
        except InvalidModel:
            raise self._unfit(BEHAVIOUR, f"it is no plain file of at most {MAX_DOCUMENT_BYTES} bytes") from None

    def _read_listed(self, name: str) -> bytes:
        try:
            return read_file(self.manifest, self.folder, name, MAX_DOCUMENT_BYTES)
        except InvalidModel:
            why = f"it is not the file that was verified, or has more than {MAX_DOCUMENT_BYTES} bytes"
            raise self._unfit(name, why) from None

    def _unfit(self, name: str, why: str) -> NotReady:
        return NotReady(f"{self.place}: {name} cannot be shown: {why}", file=name)
