"""Requests at a fixed rate, independent of replies, and the outcome of each.

An open loop: a request is sent when it is due, however many are unanswered, and its latency runs from that time. So a
service that falls behind shows it, which a closed loop would hide.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, cycle, takewhile
from math import nan
from time import monotonic
from typing import Any, NamedTuple

import aiohttp
import numpy as np
import orjson
import uvloop

ANSWERED = 200
BY_RULE = (429, 503, 504)
"""Statuses of valid requests at a bad moment."""
LOST, NOT_TAKEN = "lost", "not taken"
"""A connection that ended without a reply, and one that was refused."""

REST = 1.0
"""Seconds after which a connection is no longer used, well before the service closes it."""
PARTS = 120
"""Parts of the time of a run in a picture."""
PATIENCE = aiohttp.ClientTimeout(total=60)


class Case(NamedTuple):
    """A request, and the check of its answer."""

    name: str
    path: str
    body: bytes
    right: Callable[[bytes], bool]


class Outcome(NamedTuple):
    """The outcome of one request."""

    name: str
    at: float
    """The time at which it was due, on the monotonic clock."""
    late: float
    """Seconds from then until it was sent."""
    seconds: float
    """Seconds from when it was due to its end."""
    end: int | str
    """The status; LOST or NOT_TAKEN without one."""
    right: bool
    """False for a wrong answer, and for a malformed refusal."""


class Outcomes(list[Outcome]):
    """The outcomes of a run."""

    def seconds(self) -> list[float]:
        """Return the latencies of the answers."""
        return [each.seconds for each in self if each.end == ANSWERED]

    def count(self, *ends: int | str) -> int:  # type: ignore[override]
        """Return the number of these ends."""
        return sum(each.end in ends for each in self)

    @property
    def wrong(self) -> int:
        """The number of wrong answers and malformed refusals."""
        return sum(not each.right for each in self)

    @property
    def unruly(self) -> int:
        """The number of requests that were neither answered nor refused by rule."""
        return len(self) - self.count(ANSWERED, *BY_RULE)

    def table(self) -> list[dict[str, Any]]:
        """Return the numbers by case and end."""
        ends = Counter((each.name, str(each.end)) for each in self)
        return [{"question": name, "end": end, "requests": times} for (name, end), times in sorted(ends.items())]

    def latencies(self) -> dict[str, float]:
        """Return latencies of the answers in milliseconds, the lateness of the load generator, and latencies without
        it.
        """
        taken = np.array(self.seconds() or [0.0]) * 1e3
        p50, p99 = np.percentile(taken, [50, 99])
        late = np.percentile([each.late * 1e3 for each in self] or [0.0], 99)
        served = np.percentile([(each.seconds - each.late) * 1e3 for each in self if each.end == ANSWERED] or [0.0], 99)
        values = {"p50_ms": p50, "p99_ms": p99, "max_ms": taken.max(), "late_p99_ms": late, "served_p99_ms": served}
        return {name: float(value) for name, value in values.items()}

    def over_time(self) -> list[dict[str, float]]:
        """Return equal parts of the time: its middle in seconds, answers and refusals a second, and the answers' p99 in
        ms.

        A request belongs to the part in which it was due; p99 is NaN in a part without answers.
        """
        ordered = sorted(self, key=lambda each: each.at)
        began, taken = ordered[0].at, ordered[-1].at - ordered[0].at
        width = taken / PARTS
        parts = [Outcomes() for _ in range(PARTS)]
        for each in ordered:
            parts[min(int((each.at - began) / width), PARTS - 1)].append(each)
        return [
            {
                "seconds": (number + 0.5) * width,
                "answered_per_second": part.count(ANSWERED) / width,
                "refused_per_second": part.count(*BY_RULE) / width,
                "p99_ms": float(np.percentile(part.seconds(), 99) * 1e3) if part.seconds() else nan,
            }
            for number, part in enumerate(parts)
        ]


def exactly(expected: bytes) -> Callable[[bytes], bool]:
    """Return a check for the same bytes."""
    return expected.__eq__


class Traffic:
    """Requests to one service, from a thread of its own."""

    def __init__(self, url: str, cases: Sequence[Case], *, keep_alive: bool = True) -> None:
        """Prepare requests to `url`, the cases in turn."""
        self.outcomes = Outcomes()
        self._url = url
        self._cases = cases
        self._keep_alive = keep_alive
        self._stop = threading.Event()

    def stop(self) -> None:
        """Send no more requests; replies are still awaited."""
        self._stop.set()

    async def open_loop(self, rate: float, seconds: float) -> None:
        """Send so many requests a second, for so long or until stopped."""
        async with self._session() as session, asyncio.TaskGroup() as tasks:
            start = monotonic()
            due = takewhile(lambda at: at < start + seconds, (start + number / rate for number in count()))
            for at, case in zip(due, cycle(self._cases), strict=False):
                await asyncio.sleep(max(0.0, at - monotonic()))
                if self._stop.is_set():
                    return
                tasks.create_task(self._send(session, case, at))

    async def closed_loop(self, callers: int, seconds: float) -> None:
        """Run so many callers that each wait for a reply: the capacity of the service."""
        end = monotonic() + seconds

        async def call(session: aiohttp.ClientSession, cases: Iterator[Case]) -> None:
            while monotonic() < end:
                await self._send(session, next(cases), monotonic())

        async with self._session() as session, asyncio.TaskGroup() as tasks:
            for first in range(callers):
                turned = [*self._cases[first % len(self._cases) :], *self._cases]
                tasks.create_task(call(session, cycle(turned[: len(self._cases)])))

    def _session(self) -> aiohttp.ClientSession:
        connector = _connector(keep_alive=self._keep_alive)
        return aiohttp.ClientSession(self._url, connector=connector, timeout=PATIENCE)

    async def _send(self, session: aiohttp.ClientSession, case: Case, at: float) -> None:
        late = monotonic() - at
        end, right = await _send(session, case)
        self.outcomes.append(Outcome(case.name, at, late, monotonic() - at, end, right))


def _connector(*, keep_alive: bool) -> aiohttp.TCPConnector:
    if not keep_alive:
        return aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=REST)


async def _send(session: aiohttp.ClientSession, case: Case) -> tuple[int | str, bool]:
    headers = {"content-type": "application/json"}
    try:
        async with session.post(case.path, data=case.body, headers=headers) as response:
            content = await response.read()
    except aiohttp.ClientConnectorError:
        return NOT_TAKEN, True
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        return LOST, True
    judge = case.right if response.status == ANSWERED else is_refusal
    return response.status, judge(content)


def is_refusal(content: bytes) -> bool:
    """Return whether a refusal has the right form; below /v2, the protocol's own."""
    error = orjson.loads(content).get("error")
    return isinstance(error, str) or {"code", "message", "details"} == set(error)


@contextmanager
def traffic(
    url: str, cases: Sequence[Case], rate: float, *, seconds: float = 3600.0, keep_alive: bool = True
) -> Iterator[Outcomes]:
    """Send requests while the block runs; all are complete at its end."""
    callers = Traffic(url, cases, keep_alive=keep_alive)
    thread = threading.Thread(target=lambda: uvloop.run(callers.open_loop(rate, seconds)))
    thread.start()
    try:
        yield callers.outcomes
    finally:
        callers.stop()
        thread.join()


def load_at_rate(url: str, cases: Sequence[Case], rate: float, seconds: float) -> Outcomes:
    """Send so many requests a second, for so long."""
    callers = Traffic(url, cases)
    uvloop.run(callers.open_loop(rate, seconds))
    return callers.outcomes


def measure_capacity(url: str, cases: Sequence[Case], seconds: float, callers: int = 16) -> float:
    """Return the answers a second, with the cases mixed."""
    closed = Traffic(url, cases)
    uvloop.run(closed.closed_loop(callers, seconds))
    return closed.outcomes.count(ANSWERED) / seconds
