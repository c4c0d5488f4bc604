"""Visit a contender: start it, verify its answers, load it, verify again, stop it."""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from math import isclose
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import mean
from time import sleep
from typing import NamedTuple

from benchmarks.serving.contenders import UNCERTAINTY, Contender, Request
from benchmarks.serving.failures import NotRun
from benchmarks.serving.load import Load, put, with_ids, write_requests
from benchmarks.serving.processes import cpu_seconds, machine_cpu_seconds, memory_bytes
from benchmarks.serving.servers import ROOT, Installed, Server, serving
from benchmarks.serving.subjects import CLASSES, Prepared, Rows

TOLERANCE = 1e-4
"""The relative tolerance of probabilities."""
VERIFIED_AT_ONCE = 8
"""Concurrent requests of the verification, which finds rows mixed up in a batch."""
WARM_UP_SECONDS = 1
SECONDS_OF_SILENCE = 0.5
"""Seconds without a new line after which a log is complete."""


class Measured(NamedTuple):
    """Results with so many connections."""

    connections: int
    load: Load
    cpu_seconds: float
    """CPU seconds of all the server's processes."""
    other_cpu_seconds: float
    """CPU seconds of all other processes, without the load generator."""


class Visit(NamedTuple):
    """Results of one start of a contender's server."""

    model: str
    workers: int
    contender: str
    ready_seconds: float
    idle_bytes: int
    loaded_bytes: int
    measured: tuple[Measured, ...]
    products: Mapping[int, float]
    """Seconds of the matrix products of a row's samples, by rows in a run; empty for contenders other than ours."""


def visit(
    contender: Contender,
    installed: Installed,
    prepared: Prepared,
    workers: int,
    connections: Sequence[int],
    seconds: int,
) -> Visit:
    """Measure at each number of connections; raise NotRun if answers or lines of the log are wrong or missing."""
    requests = [contender.encode(row) for row in prepared.rows]
    expected = prepared.answers.get(contender.question, [[1 / CLASSES] * CLASSES] * len(requests))
    products = time_products(installed.python, prepared, workers) if contender.name == UNCERTAINTY else {}
    with (
        tempfile.NamedTemporaryFile() as file,
        serving(contender, installed, prepared, workers) as server,
    ):
        idle = memory_bytes(server.pid)
        verify(server, contender, requests, expected)
        sent = with_ids(requests) if contender.has_ids else requests
        write_requests(Path(file.name), server.port, contender.path, sent)
        warm_up = put(server.port, Path(file.name), max(connections), WARM_UP_SECONDS)
        measured = tuple(measure(server, Path(file.name), count, seconds) for count in connections)
        loaded = memory_bytes(server.pid)
        verify(server, contender, requests, expected)
        if contender.logs_requests:
            answers = warm_up.requests + sum(each.load.requests for each in measured)
            verify_log(server.log, contender.path, answers)
    return Visit(prepared.subject.name, workers, contender.name, server.ready_seconds, idle, loaded, measured, products)


def time_products(python: Path, prepared: Prepared, processes: int) -> dict[int, float]:
    """Return seconds a row of a process, by rows in a run, while so many processes compute at a time."""
    command = [str(python), "-m", "benchmarks.serving.products", str(prepared.products.absolute())]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(processes)]  # noqa: S603 - our own
    found = [json.loads(process.communicate()[0]) for process in running]
    return {int(rows): mean(one[rows] for one in found) for rows in found[0]}


def measure(server: Server, requests: Path, connections: int, seconds: int) -> Measured:
    """Load the server once."""
    before = _clocks(server)
    load = put(server.port, requests, connections, seconds)
    of_server, of_load, of_machine = (now - then for now, then in zip(_clocks(server), before, strict=True))
    return Measured(connections, load, of_server, max(0.0, of_machine - of_server - of_load))


def _clocks(server: Server) -> tuple[float, float, float]:
    """Return the CPU seconds so far of the server, of finished load generators, and of the machine."""
    ended = getrusage(RUSAGE_CHILDREN)
    return cpu_seconds(server.pid), ended.ru_utime + ended.ru_stime, machine_cpu_seconds()


def verify(server: Server, contender: Contender, requests: Sequence[Request], expected: Rows) -> None:
    """Send each request once, several at a time; raise NotRun unless all answers are right."""

    def answer(request: Request) -> list[float]:
        return contender.decode(server.ask(contender.path, request))

    with ThreadPoolExecutor(VERIFIED_AT_ONCE) as pool:
        try:
            answers = list(pool.map(answer, requests))
        except (OSError, HTTPException, LookupError, ValueError) as error:
            raise NotRun(f"its answer cannot be read: {error!r}") from None
    for number, (found, wanted) in enumerate(zip(answers, expected, strict=True)):
        if not same(found, wanted):
            raise NotRun(f"row {number}: expected {wanted[:3]} …, found {found[:3]} …")


def verify_log(log: Path, path: str, answers: int) -> None:
    """Wait until the log is complete; raise NotRun unless it has a whole line for each of so many answers."""
    size = -1
    while size < (size := log.stat().st_size):
        sleep(SECONDS_OF_SILENCE)
    with log.open("rb") as lines:
        found = sum(_path(line) == path for line in lines)
    if found < answers:
        raise NotRun(f"its log has {found} requests, of {answers} that were answered")


def _path(line: bytes) -> str | None:
    """Return the path of a log line about a request."""
    try:
        path: str | None = json.loads(line).get("path")
    except ValueError:
        return None
    return path


def same(found: Sequence[float], expected: Sequence[float]) -> bool:
    """Return whether the probabilities agree, up to float32 arithmetic in another order."""
    return len(found) == len(expected) and all(
        isclose(one, other, rel_tol=TOLERANCE) for one, other in zip(found, expected, strict=True)
    )
