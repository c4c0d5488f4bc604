"""Log lines to stderr, through a bounded queue and a thread: logging never waits for a reader."""

import logging
import os
import select
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from threading import Condition, Thread
from time import monotonic, sleep

import msgspec
import structlog

from service.telemetry.log_lines import FormatEvents, format_as_json

MAX_WAITING_BYTES = 2**22
"""Bytes of lines that may wait to be written; what does not fit is dropped and counted. At 45,000 requests a second the
thread waits for the interpreter so long that a quarter of this would drop some."""
EVENT_BYTES = 400
"""Approximate bytes of an event that waits, and of its line."""
MAX_FLUSH_SECONDS = 1.0
"""Seconds that the end of the process waits for lines to be written."""
PAUSE = 0.02
"""Seconds between two writes, in which lines are queued without waking the thread."""

log = structlog.get_logger(__name__)


class LogWriter(logging.Handler):
    """A handler that queues lines, which a thread writes to a file descriptor.

    Log records are formatted by `emit`, many events together by the thread.

    While the descriptor blocks (a pipe without a reader), lines are dropped once the queue is full. Where writing fails
    (a full disk, a lost terminal, a closed descriptor), each failed line is dropped. The thread uses the descriptor
    itself rather than `sys.stderr`, whose lock the interpreter needs at exit.
    """

    def __init__(self, descriptor: int, format_events: FormatEvents = format_as_json) -> None:
        """Start the thread that writes to a file descriptor."""
        super().__init__()
        self._format_events = format_events
        self.dropped = 0
        """Number of lines that were not written."""
        self._descriptor = descriptor
        self._longest_write = MAX_WAITING_BYTES if _is_file(descriptor) else select.PIPE_BUF
        """Bytes of a write. After each the thread waits for the interpreter, but a pipe may mix longer ones with those
        of another process."""
        self._queue: deque[bytes | Sequence[msgspec.Struct]] = deque()
        """Lines, and events whose lines are to be formatted."""
        self._waiting_bytes = 0
        """Bytes of the lines in the queue and of those being written."""
        self._reported = 0
        self._torn = False
        """Whether the last line is incomplete."""
        self._changed = Condition()
        self._ended = False
        self._thread = Thread(target=self._write_queue, name="log-writer", daemon=True)
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
        self._add(line, len(line), 1)

    def add_events(self, events: Sequence[msgspec.Struct]) -> None:
        """Queue events, or drop them, without waiting."""
        self._add(events, EVENT_BYTES * len(events), len(events))

    def _add(self, queued: bytes | Sequence[msgspec.Struct], size: int, lines: int) -> None:
        with self._changed:
            if self._waiting_bytes + size > MAX_WAITING_BYTES:
                self.dropped += lines
                return
            self._queue.append(queued)
            self._waiting_bytes += size
            self._changed.notify_all()

    def handleError(self, _: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop a line that cannot be formatted; logging's own method would write to stderr and might block."""
        self._drop(1)

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

    def _write_queue(self) -> None:
        while queued := self._next():
            for piece in _cut(self._format_queued(queued), self._longest_write):
                if failed := self._write(piece):
                    self._drop(failed)
                else:
                    self._report_dropped(self._waiting_bytes - len(piece))
                self._count_waiting(-len(piece))
            sleep(PAUSE)

    def _next(self) -> list[bytes | Sequence[msgspec.Struct]]:
        """Wait for lines and events, and return all in the queue; none at the end."""
        with self._changed:
            while not (self._queue or self._ended):
                self._changed.wait()
            queued = list(self._queue)
            self._queue.clear()
        return queued

    def _format_queued(self, queued: Sequence[bytes | Sequence[msgspec.Struct]]) -> bytes:
        """Return all lines, and count the bytes of those that were events."""
        parts: list[bytes] = []
        more = 0
        for part in queued:
            if isinstance(part, bytes):
                parts.append(part)
            else:
                parts.append(self._format_or_drop(part))
                more += len(parts[-1]) - EVENT_BYTES * len(part)
        self._count_waiting(more)
        return b"".join(parts)

    def _format_or_drop(self, events: Sequence[msgspec.Struct]) -> bytes:
        try:
            return self._format_events(events)
        except Exception:  # noqa: BLE001 - events that cannot be formatted must not end the thread
            self._drop(len(events))
            return b""

    def _count_waiting(self, more: int) -> None:
        with self._changed:
            self._waiting_bytes += more
            self._changed.notify_all()

    def _write(self, lines: bytes) -> int:
        """Write lines, after a line break if the last one is incomplete, and return how many could not be written."""
        rest = memoryview(b"\n" + lines if self._torn else lines)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:  # another process made the descriptor non-blocking
                select.select([], [self._descriptor], [])
                continue
            except OSError:
                return min(bytes(rest).count(b"\n"), lines.count(b"\n"))  # the added line break is no line
            self._torn = rest[written - 1] != ord("\n")
            rest = rest[written:]
        return 0

    def _drop(self, lines: int) -> None:
        with self._changed:
            self.dropped += lines

    def _report_dropped(self, waiting_bytes: int) -> None:
        """Log how many lines were dropped, once lines are written again and the queue has room."""
        if self.dropped == self._reported or waiting_bytes > MAX_WAITING_BYTES / 2:
            return
        lines, self._reported = self.dropped - self._reported, self.dropped
        log.warning("log lines were dropped: stderr did not accept them", lines=lines)


def _is_file(descriptor: int) -> bool:
    """Return whether a descriptor is a regular file, into which the kernel writes any number of bytes at once."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _cut(lines: bytes, longest: int) -> Iterator[bytes]:
    """Cut lines into pieces of at most `longest` bytes; a longer line is a piece of its own."""
    start = 0
    while start < len(lines):
        last = lines.rfind(b"\n", start, start + longest)
        end = (last if last >= 0 else lines.index(b"\n", start)) + 1
        yield lines[start:end]
        start = end


def count_dropped() -> int:
    """Return how many log lines of this process were dropped."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, LogWriter))
