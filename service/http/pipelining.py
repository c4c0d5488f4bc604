"""Requests sent before the last one is answered: few of them are read at a time, the rest waits as bytes.

uvicorn makes of all that it has read requests that wait, and reads on with each answer: a connection that sends some
20 bytes again and again made it keep 70 times as much, without end, no key needed.
"""

from service.http.patience import Patient

SLICE_BYTES = 4096
"""Read at a time: some 200 of the shortest requests."""


class InTurn(Patient):
    """One connection, of which no more is read while requests wait that were read already."""

    _unread = b""

    def data_received(self, data: bytes) -> None:
        """Read it, or keep it where others wait. Mostly it is one request, and short."""
        if self._unread:
            self._unread += data  # TLS may hand over what it had before reading was paused
        elif len(data) <= SLICE_BYTES and not self.pipeline:
            super().data_received(data)
        else:
            self._read(data)

    def on_response_complete(self) -> None:
        """Whose turn it is now was read already, or is read."""
        super().on_response_complete()
        if self._unread and not self.pipeline:
            unread, self._unread = self._unread, b""
            self._read(unread)
            self.transport.hold(bool(self._unread))
            if not self._unread and not self.flow.read_paused:
                self.transport.resume_reading()

    def _read(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE_BYTES):
            if self.transport.is_closing():
                return
            if self.pipeline:
                self._unread = data[start:]
                self.transport.hold(True)
                return
            super().data_received(data[start : start + SLICE_BYTES])
