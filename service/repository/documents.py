"""The documents of a version: its model card, plots and behaviour report.

Paths are never built from a request: names are those below, or in the manifest of the loaded version. Files listed in
the manifest are verified against their digests. A behaviour report may be written after its model is published, and is
then not listed.
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
    """The documents of one version."""

    folder: Path
    """The folder of the version's files."""
    manifest: Manifest
    """The manifest of the loaded version, which may differ from the one in the folder."""

    @property
    def place(self) -> str:
        """The version's name in messages."""
        return f"{self.manifest.name}/{self.manifest.version}"

    @property
    def plots(self) -> list[str]:
        """Names of the plots."""
        return [name for name in self.manifest.files if name.endswith(PLOT)]

    @property
    def has_card(self) -> bool:
        """Whether the version was published with a model card."""
        return CARD in self.manifest.files

    @property
    def has_behaviour(self) -> bool:
        """Whether the version has a behaviour report."""
        return BEHAVIOUR in self.manifest.files or (self.folder / BEHAVIOUR).is_file()

    def read_card(self) -> bytes:
        """Return the model card, in Markdown. Raises UnknownFile or NotReady."""
        if not self.has_card:
            raise UnknownFile(f"{self.place} has no model card: it was published without {CARD}", file=CARD)
        return self._read_listed(CARD)

    def read_plot(self, name: str) -> bytes:
        """Return a plot, as SVG. Raises UnknownFile or NotReady."""
        if name not in self.plots:
            known = ", ".join(self.plots) or "none"
            raise UnknownFile(f"{self.place} has no such plot; its plots: {known}", file=name, expected=self.plots)
        return self._read_listed(name)

    def read_behaviour(self) -> bytes:
        """Return the behaviour report, as HTML. Raises UnknownFile or NotReady."""
        if BEHAVIOUR in self.manifest.files:
            return self._read_listed(BEHAVIOUR)
        try:
            return read_plain(self.folder / BEHAVIOUR, MAX_DOCUMENT_BYTES)
        except OSError:
            message = f"{self.place} has no behaviour report; `dropserve behaviour` makes one"
            raise UnknownFile(message, file=BEHAVIOUR) from None
        except InvalidModel:
            raise self._unfit(BEHAVIOUR, f"it is not a regular file of at most {MAX_DOCUMENT_BYTES} bytes") from None

    def _read_listed(self, name: str) -> bytes:
        try:
            return read_file(self.manifest, self.folder, name, MAX_DOCUMENT_BYTES)
        except InvalidModel:
            why = f"it differs from the published file, or has more than {MAX_DOCUMENT_BYTES} bytes"
            raise self._unfit(name, why) from None

    def _unfit(self, name: str, why: str) -> NotReady:
        return NotReady(f"{self.place}: {name} cannot be shown: {why}", file=name)
