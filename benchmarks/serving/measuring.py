"""One visit to a contender: start it, verify its answers, load it, verify again, stop it."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from math import isclose
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import NamedTuple

from benchmarks.serving.contenders import Contender, Request
from benchmarks.serving.failures import NotRun
from benchmarks.serving.load import Load, put, write_requests
from benchmarks.serving.processes import cpu_seconds, machine_cpu_seconds, memory_bytes
from benchmarks.serving.servers import Server, serving
from benchmarks.serving.subjects import CLASSES, Prepared, Rows

TOLERANCE = 1e-4
ASKED_AT_A_TIME = 8
"""While answers are verified, so that rows mixed up in a batch are found."""
WARM_UP_SECONDS = 1


class Measured(NamedTuple):
    """Under load of so many connections."""

    connections: int
    load: Load
    cpu_seconds: float
    """Of the server, all its processes together."""
    other_cpu_seconds: float
    """Of all else on the machine but the load generator: what disturbed."""


class Visit(NamedTuple):
    """What one start of a contender's server showed."""

    model: str
    workers: int
    contender: str
    ready_seconds: float
    idle_bytes: int
    loaded_bytes: int
    measured: tuple[Measured, ...]


def visit(
    contender: Contender, python: Path, prepared: Prepared, workers: int, connections: Sequence[int], seconds: int
) -> Visit:
    """Measure at each number of connections for so many seconds; raises NotRun if answers are wrong or missing."""
    requests = [contender.encode(row) for row in prepared.rows]
    expected = prepared.answers.get(contender.question, [[1 / CLASSES] * CLASSES] * len(requests))
    with (
        tempfile.NamedTemporaryFile() as file,
        serving(contender, python, prepared, workers) as server,
    ):
        idle = memory_bytes(server.pid)
        verify(server, contender, requests, expected)
        write_requests(Path(file.name), server.port, contender.path, requests)
        put(server.port, Path(file.name), max(connections), WARM_UP_SECONDS)
        measured = tuple(measure(server, Path(file.name), count, seconds) for count in connections)
        loaded = memory_bytes(server.pid)
        verify(server, contender, requests, expected)
    return Visit(prepared.subject.name, workers, contender.name, server.ready_seconds, idle, loaded, measured)


def measure(server: Server, requests: Path, connections: int, seconds: int) -> Measured:
    """Load it once."""
    before = _clocks(server)
    load = put(server.port, requests, connections, seconds)
    of_server, of_load, of_machine = (now - then for now, then in zip(_clocks(server), before, strict=True))
    return Measured(connections, load, of_server, max(0.0, of_machine - of_server - of_load))


def _clocks(server: Server) -> tuple[float, float, float]:
    """CPU seconds so far: of the server, of load generators that have ended, of the machine."""
    ended = getrusage(RUSAGE_CHILDREN)
    return cpu_seconds(server.pid), ended.ru_utime + ended.ru_stime, machine_cpu_seconds()


def verify(server: Server, contender: Contender, requests: Sequence[Request], expected: Rows) -> None:
    """Ask each request once, several at a time; raises NotRun unless all answers are right."""

    def answer(request: Request) -> list[float]:
        return contender.decode(server.ask(contender.path, request))

    with ThreadPoolExecutor(ASKED_AT_A_TIME) as pool:
        try:
            answers = list(pool.map(answer, requests))
        except (OSError, HTTPException, LookupError, ValueError) as error:
            raise NotRun(f"its answer cannot be read: {error!r}") from None
    for number, (found, wanted) in enumerate(zip(answers, expected, strict=True)):
        if not same(found, wanted):
            raise NotRun(f"row {number}: expected {wanted[:3]} …, found {found[:3]} …")


def same(found: Sequence[float], wanted: Sequence[float]) -> bool:
    """Whether these are the same probabilities, up to what float32 arithmetic in another order changes."""
    return len(found) == len(wanted) and all(
        isclose(one, other, rel_tol=TOLERANCE) for one, other in zip(found, wanted, strict=True)
    )
