"""Callers at a fixed rate, who do not wait for one another, and what each was told.

An open loop: a request is sent when its time has come, however many are still unanswered, and its latency runs from
that time. So a service that falls behind shows it, where callers who wait their turn would hide it.
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
"""Refusals of a good request at a bad moment."""
LOST, NOT_TAKEN = "lost", "not taken"
"""A connection that ended without an answer, and one that was refused."""

REST = 1.0
"""Seconds after which a caller uses a connection no more: well before the service closes it."""
PARTS = 120
"""Of the time of a run, for a picture of it."""
PATIENCE = aiohttp.ClientTimeout(total=60)


class Question(NamedTuple):
    """What is asked, and whether an answer to it is right."""

    name: str
    path: str
    body: bytes
    right: Callable[[bytes], bool]


class Outcome(NamedTuple):
    """Of one request."""

    name: str
    at: float
    """When it was due, on the monotonic clock."""
    late: float
    """Seconds from then until the caller himself had come to it."""
    seconds: float
    """From when it was due to its end."""
    end: int | str
    """The status; LOST or NOT_TAKEN where there was none."""
    right: bool
    """False for an answer that is not what it must be, and for a refusal that is not in the form of refusals."""


class Outcomes(list[Outcome]):
    """Of all requests of a run."""

    def seconds(self) -> list[float]:
        """Latencies of what was answered."""
        return [each.seconds for each in self if each.end == ANSWERED]

    def count(self, *ends: int | str) -> int:  # type: ignore[override]
        """How many ended so."""
        return sum(each.end in ends for each in self)

    @property
    def wrong(self) -> int:
        """How many were told something that is not so."""
        return sum(not each.right for each in self)

    @property
    def unruly(self) -> int:
        """How many were neither answered nor refused by rule."""
        return len(self) - self.count(ANSWERED, *BY_RULE)

    def table(self) -> list[dict[str, Any]]:
        """By question and end."""
        ends = Counter((each.name, str(each.end)) for each in self)
        return [{"question": name, "end": end, "requests": times} for (name, end), times in sorted(ends.items())]

    def latencies(self) -> dict[str, float]:
        """Of what was answered, in milliseconds; by how much callers were late themselves; and the rest of it."""
        taken = np.array(self.seconds() or [0.0]) * 1e3
        p50, p99 = np.percentile(taken, [50, 99])
        late = np.percentile([each.late * 1e3 for each in self] or [0.0], 99)
        served = np.percentile([(each.seconds - each.late) * 1e3 for each in self if each.end == ANSWERED] or [0.0], 99)
        told = {"p50_ms": p50, "p99_ms": p99, "max_ms": taken.max(), "late_p99_ms": late, "served_p99_ms": served}
        return {name: float(value) for name, value in told.items()}

    def over_time(self) -> list[dict[str, float]]:
        """In equal parts of the time: the middle of each in seconds, what was answered and refused a second, by when it
        was due, and the 99th percentile of the answers' latencies in ms, not a number where there was none.
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
    """The same bytes, each time."""
    return expected.__eq__


class Traffic:
    """Requests to one service, from a thread of their own."""

    def __init__(self, url: str, questions: Sequence[Question], *, keep_alive: bool = True) -> None:
        self.outcomes = Outcomes()
        self._url = url
        self._questions = questions
        self._keep_alive = keep_alive
        self._stop = threading.Event()

    def stop(self) -> None:
        """Send no more; what was sent is still waited for."""
        self._stop.set()

    async def open_loop(self, rate: float, seconds: float) -> None:
        """So many requests a second, for so long or until stopped."""
        async with self._session() as session, asyncio.TaskGroup() as asking:
            start = monotonic()
            due = takewhile(lambda at: at < start + seconds, (start + number / rate for number in count()))
            for at, question in zip(due, cycle(self._questions), strict=False):
                await asyncio.sleep(max(0.0, at - monotonic()))
                if self._stop.is_set():
                    return
                asking.create_task(self._ask(session, question, at))

    async def closed_loop(self, callers: int, seconds: float) -> None:
        """So many callers, each asking again once he was answered: what the service can do at the most."""
        end = monotonic() + seconds

        async def ask(session: aiohttp.ClientSession, questions: Iterator[Question]) -> None:
            while monotonic() < end:
                await self._ask(session, next(questions), monotonic())

        async with self._session() as session, asyncio.TaskGroup() as asking:
            for first in range(callers):
                turned = [*self._questions[first % len(self._questions) :], *self._questions]
                asking.create_task(ask(session, cycle(turned[: len(self._questions)])))

    def _session(self) -> aiohttp.ClientSession:
        connector = _connector(keep_alive=self._keep_alive)
        return aiohttp.ClientSession(self._url, connector=connector, timeout=PATIENCE)

    async def _ask(self, session: aiohttp.ClientSession, question: Question, at: float) -> None:
        late = monotonic() - at
        end, right = await _ask(session, question)
        self.outcomes.append(Outcome(question.name, at, late, monotonic() - at, end, right))


def _connector(*, keep_alive: bool) -> aiohttp.TCPConnector:
    if not keep_alive:
        return aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=REST)


async def _ask(session: aiohttp.ClientSession, question: Question) -> tuple[int | str, bool]:
    headers = {"content-type": "application/json"}
    try:
        async with session.post(question.path, data=question.body, headers=headers) as response:
            content = await response.read()
    except aiohttp.ClientConnectorError:
        return NOT_TAKEN, True
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        return LOST, True
    judge = question.right if response.status == ANSWERED else is_refusal
    return response.status, judge(content)


def is_refusal(content: bytes) -> bool:
    """Whether it has the form that refusals have; below /v2, the protocol's own."""
    error = orjson.loads(content).get("error")
    return isinstance(error, str) or {"code", "message", "details"} == set(error)


@contextmanager
def traffic(
    url: str, questions: Sequence[Question], rate: float, *, seconds: float = 3600.0, keep_alive: bool = True
) -> Iterator[Outcomes]:
    """While the block runs; all has been answered when it ends."""
    callers = Traffic(url, questions, keep_alive=keep_alive)
    thread = threading.Thread(target=lambda: uvloop.run(callers.open_loop(rate, seconds)))
    thread.start()
    try:
        yield callers.outcomes
    finally:
        callers.stop()
        thread.join()


def ask_at_rate(url: str, questions: Sequence[Question], rate: float, seconds: float) -> Outcomes:
    """So many requests a second, for so long."""
    callers = Traffic(url, questions)
    uvloop.run(callers.open_loop(rate, seconds))
    return callers.outcomes


def measure_capacity(url: str, questions: Sequence[Question], seconds: float, callers: int = 16) -> float:
    """Answers a second, the questions mixed as they are given."""
    closed = Traffic(url, questions)
    uvloop.run(closed.closed_loop(callers, seconds))
    return closed.outcomes.count(ANSWERED) / seconds
