"""The prediction log: write answers to a store from a thread, through a bounded queue.

Requests never wait for the log nor fail because of it. They queue arrays, which the thread encodes; answers that do not
fit into the queue are dropped and counted. While the store is unreachable the thread retries after growing pauses.
"""

import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import structlog

from service.errors import StoreAway
from service.review.rows import Event, Row, to_rows
from service.review.store import Store
from service.telemetry.records import Answered, Record

EVENT_BYTES, ROW_BYTES = 1000, 500
"""Approximate memory of a request and of a row, in addition to their arrays."""
WRITE_BYTES = 2**23
"""Approximate bytes of one write, which limits the size of Parquet files."""
PIECE, PIECE_PAUSE = 10, 0.0005
"""The thread sleeps for this many seconds after this many rows, as encoding holds the GIL."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
"""Seconds between attempts."""
SECONDS_BETWEEN_PRUNINGS = 3600.0
SECONDS_A_DAY = 86400.0

FATES = ("written", "dropped", "failed")
Count = Callable[[str, int], None]
"""A callback with `written` or `dropped` and a number of rows, or with `failed` and 1 for each failed attempt."""

log = structlog.get_logger(__name__)


class PredictionLog:
    """A queue and the thread that empties it; only one thread may call `take`."""

    def __init__(
        self,
        store: Store,
        *,
        seconds: float,
        max_bytes: int,
        days: float | None = None,
        keep_inputs: bool = True,
    ) -> None:
        """Write to `store` every `seconds`, or earlier when the queue of `max_bytes` is half full.

        Rows older than `days` are deleted. Without `keep_inputs` the rows themselves are not written.
        """
        self._store = store
        self._count: Count = lambda _, __: None
        self._seconds, self._max_bytes, self._days, self._keep_inputs = seconds, max_bytes, days, keep_inputs
        self._events: deque[Event] = deque()
        self._taken = self._done = 0  # total bytes; each is changed by one thread only
        self._token, self._numbers = secrets.token_hex(8), itertools.count()
        self._wake = threading.Event()
        self._end: float | None = None
        self._ready = False
        self._prune_at = 0.0
        self._thread = threading.Thread(target=self._work, name="dropserve-log", daemon=True)

    def start(self, count: Count) -> None:
        """Start the thread; both threads report to `count`."""
        self._count = count
        for fate in FATES:  # counters start at 0, so that their first rise is visible
            count(fate, 0)
        self._thread.start()

    def take(self, record: Record) -> None:
        """Queue the answer of a request that has ended, if it succeeded and was not exploratory."""
        outcome, manifest = record.outcome, record.manifest
        if outcome is None or manifest is None or outcome.answered is None or record.status != 200:
            return
        if record.exploratory:
            return
        answered = outcome.answered()
        if not self._keep_inputs:
            answered = answered._replace(inputs={})
        size = EVENT_BYTES + ROW_BYTES * outcome.rows + _array_bytes(answered)
        if self._held + size > self._max_bytes:
            self._count("dropped", outcome.rows)
            return
        self._taken += size
        request_id, number = record.request_id.decode("latin-1"), f"{self._token}{next(self._numbers):010x}"
        event = Event(number, time.time(), request_id, record.route, manifest, outcome, answered, size)
        self._events.append(event)
        if 2 * self._held > self._max_bytes:
            self._wake.set()

    def close(self, seconds: float) -> None:
        """Write the rest of the queue, for at most this many seconds; what is left then is dropped and counted."""
        self._end = time.monotonic() + seconds
        self._wake.set()
        self._thread.join(seconds + 1)

    @property
    def _held(self) -> int:
        return self._taken - self._done

    @property
    def _too_late(self) -> bool:
        return self._end is not None and time.monotonic() > self._end

    def _work(self) -> None:
        self._prepare()
        while self._end is None:
            self._wake.wait(self._seconds)
            self._wake.clear()
            self._prune()
            self._empty()
        self._empty()

    def _empty(self) -> None:
        while self._events:
            events = list(self._next_events())
            written = self._keep(events)
            dropped = sum(event.outcome.rows for event in events) - written
            for fate, rows in (("written", written), ("dropped", dropped)):
                if rows:
                    self._count(fate, rows)
            self._done += sum(event.size for event in events)

    def _next_events(self) -> Iterator[Event]:
        size = 0
        while self._events and size < WRITE_BYTES:
            event = self._events.popleft()
            size += event.size
            yield event

    def _keep(self, events: list[Event]) -> int:
        """Write the rows of requests and return how many are in the store; no error ends the thread."""
        try:
            if not self._too_late and (written := self._deliver(self._rows(events))) is not None:
                return written
            log.warning("requests were not written to the prediction log before the end", requests=len(events))
        except Exception as error:
            log.error("requests could not be written to the prediction log", requests=len(events), exc_info=error)
        return 0

    def _rows(self, events: list[Event]) -> list[Row]:
        made = to_rows(events, keep_inputs=self._keep_inputs)
        rows: list[Row] = []
        while piece := list(itertools.islice(made, PIECE)):
            rows += piece
            time.sleep(PIECE_PAUSE)
        return rows

    def _deliver(self, rows: list[Row]) -> int | None:
        """Write rows, with retries, and return how many the store accepted; None if the time is over."""
        pause = FIRST_PAUSE
        while not self._too_late:
            try:
                written = self._write(rows)
            except StoreAway as error:
                if pause == FIRST_PAUSE:
                    log.warning("the prediction log cannot be written; trying again", reason=error.message)
                self._count("failed", 1)
                self._pause(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                if pause > FIRST_PAUSE:
                    log.info("the prediction log can be written again")
                if written < len(rows):
                    log.error("the store of the prediction log does not accept some rows", rows=len(rows) - written)
                return written
        return None

    def _prepare(self) -> None:
        """Prepare the store before the first write, so that problems are logged early and listings work."""
        try:
            self._store.prepare()
            self._ready = True
        except Exception as error:  # noqa: BLE001 - it is retried
            log.warning("the store of the prediction log cannot be used yet", reason=str(error))

    def _write(self, rows: list[Row]) -> int:
        try:
            if not self._ready:
                self._store.prepare()
            self._ready = True
            return self._store.write(rows)
        except StoreAway:
            self._ready = False
            raise

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, for a shorter time once `close` is called."""
        until = time.monotonic() + seconds
        while self._end is None and (left := until - time.monotonic()) > 0:
            self._wake.wait(left)
            self._wake.clear()
        if self._end is not None:
            time.sleep(FIRST_PAUSE)

    def _prune(self) -> None:
        if self._days is None or time.monotonic() < self._prune_at:
            return
        try:
            self._store.prepare()
            self._store.prune(time.time() - SECONDS_A_DAY * self._days)
            self._prune_at = time.monotonic() + SECONDS_BETWEEN_PRUNINGS
        except Exception as error:  # noqa: BLE001 - it is retried, and new rows are written in any case
            log.warning("old rows of the prediction log cannot be deleted", reason=str(error))


def _array_bytes(answered: Answered) -> int:
    return sum(array.nbytes for array in answered.inputs.values()) + 8 * answered.prediction.values.nbytes
