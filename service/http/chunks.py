"""A chunk of a body says how long it will be before it comes, which the parser keeps to itself: so that one that is
too long is refused at once, as a Content-Length is.
"""

import re

from service.access.calls import ANNOUNCED
from service.http.refusing import Refusing

LAST_LINE = re.compile(rb"\n([0-9a-fA-F]{1,16})(?:;[^\n]*)?\r\n\Z")


class Chunked(Refusing):
    """One connection, whose requests bear the length of a chunk that has begun. Of one whose head comes in pieces,
    nothing is known before its bytes are there.
    """

    _come: int | None = None
    """Bytes of a chunk that came with its head; None once it is known, or whole."""
    _fresh_line = False

    def data_received(self, data: bytes) -> None:
        """A chunk that has begun reaches from its head to the end of what came."""
        super().data_received(data)
        if self._come is not None:
            self._announce(b"\n" * self._fresh_line + data[: len(data) - self._come])
            self._come = None
        self._fresh_line = data.endswith(b"\n")

    def on_chunk_header(self) -> None:
        """Its head is read."""
        self._come = 0

    def on_chunk_complete(self) -> None:
        """It is here."""
        self._come = None

    def on_body(self, body: bytes) -> None:
        """There is more of it."""
        if self._come is not None:
            self._come += len(body)
        super().on_body(body)

    def _announce(self, head: bytes) -> None:
        if size := LAST_LINE.search(head):
            self.cycle.scope[ANNOUNCED] = int(size[1], 16)  # type: ignore[literal-required]
            self.cycle.message_event.set()
