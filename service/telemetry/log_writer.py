"""Log lines to stderr, through a bounded queue and a thread: logging never waits for a reader."""

import logging
import os
import select
from collections import deque
from threading import Condition, Thread
from time import monotonic

import structlog

MAX_WAITING_BYTES = 2**20
"""Bytes of lines that may wait to be written; what does not fit is dropped and counted."""
MAX_FLUSH_SECONDS = 1.0
"""Seconds that the end of the process waits for lines to be written."""

log = structlog.get_logger(__name__)


class LogWriter(logging.Handler):
    """A handler whose `emit` formats and queues a line, which a thread writes to a file descriptor.

    While the descriptor blocks (a pipe without a reader), lines are dropped once the queue is full. Where writing fails
    (a full disk, a lost terminal, a closed descriptor), each failed line is dropped. The thread uses the descriptor
    itself rather than `sys.stderr`, whose lock the interpreter needs at exit.
    """

    def __init__(self, descriptor: int) -> None:
        """Start the thread that writes to a file descriptor."""
        super().__init__()
        self.dropped = 0
        """Number of lines that were not written."""
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        """Bytes of the lines in the queue and of the one being written."""
        self._reported = 0
        self._torn = False
        """Whether the last line is incomplete."""
        self._changed = Condition()
        self._ended = False
        self._thread = Thread(target=self._write_lines, name="log-writer", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit a record without logging's lock, which `flush` holds at exit."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, or drop it, without waiting."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - a line that cannot be formatted must not stop its caller
            self.handleError(record)
            return
        with self._changed:
            if self._waiting_bytes + len(line) > MAX_WAITING_BYTES:
                self.dropped += 1
                return
            self._lines.append(line)
            self._waiting_bytes += len(line)
            self._changed.notify_all()

    def handleError(self, _: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop a line that cannot be formatted; logging's own method would write to stderr and might block."""
        self._drop()

    def flush(self) -> None:
        """Wait until all lines are written, but no longer than a second."""
        end = monotonic() + MAX_FLUSH_SECONDS
        with self._changed:
            while self._waiting_bytes and (left := end - monotonic()) > 0:
                self._changed.wait(left)

    def close(self) -> None:
        """End the thread once all lines are written, without waiting for it."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        super().close()

    def _write_lines(self) -> None:
        while (line := self._next()) is not None:
            try:
                self._write(line)
            except OSError:
                self._drop()
            else:
                self._report_dropped(self._waiting_bytes - len(line))
            with self._changed:
                self._waiting_bytes -= len(line)
                self._changed.notify_all()

    def _next(self) -> bytes | None:
        """Wait for a line; None at the end."""
        with self._changed:
            while not self._lines:
                if self._ended:
                    return None
                self._changed.wait()
            return self._lines.popleft()

    def _write(self, line: bytes) -> None:
        """Write a whole line, after a line break if the previous one is incomplete. Raises OSError."""
        rest = memoryview(b"\n" + line if self._torn else line)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:  # another process made the descriptor non-blocking
                select.select([], [self._descriptor], [])
                continue
            rest = rest[written:]
            self._torn = bool(rest)

    def _drop(self) -> None:
        with self._changed:
            self.dropped += 1

    def _report_dropped(self, waiting_bytes: int) -> None:
        """Log how many lines were dropped, once lines are written again and the queue has room."""
        if self.dropped == self._reported or waiting_bytes > MAX_WAITING_BYTES / 2:
            return
        lines, self._reported = self.dropped - self._reported, self.dropped
        log.warning("log lines were dropped: stderr did not accept them", lines=lines)


def count_dropped() -> int:
    """Return how many log lines of this process were dropped."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, LogWriter))
