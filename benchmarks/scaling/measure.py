"""Measure cost and latency of requests to one worker on one core, from another core."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.scaling.capacity import Kind, Measured
from benchmarks.serving.contenders import Request
from benchmarks.serving.failures import NotRun
from benchmarks.serving.load import on_the_wire, put, write_requests
from benchmarks.serving.processes import cpu_seconds
from benchmarks.serving.servers import Server, dropserve, free_port, started
from service import load_model
from service.engine.engine import Engine
from service.engine.masks import MaskCache

CONNECTIONS = 8


class Subject:
    """A model and its requests."""

    def __init__(self, folder: Path) -> None:
        """Load the model of the folder."""
        self.folder = folder
        self.engine: Engine = load_model(folder, MaskCache(2**28))

    def path(self, ask: Kind) -> str:
        """Return the path of such a request."""
        manifest = self.engine.manifest
        route = "uncertainty" if ask.passes else "predict"
        return f"/v1/models/{manifest.name}/versions/{manifest.version}/{route}"

    def request(self, ask: Kind) -> Request:
        """Return a request of so many golden rows, repeated if needed."""
        rows = {
            name: np.resize(array, (ask.rows, *array.shape[1:])).tolist()
            for name, array in self.engine.examples.items()
        }
        return Request(json.dumps({"inputs": rows} | ({"samples": ask.passes} if ask.passes else {})).encode())


@contextmanager
def one_core(subject: Subject) -> Iterator[Server]:
    """Start a service of one worker on the first core of this process, which moves to the others.

    Raises NotRun with a single core, or without taskset.
    """
    before = os.sched_getaffinity(0)
    first, *others = sorted(before)
    if not others or not shutil.which("taskset"):
        raise NotRun("needs taskset and two cores: one for the service, the other for the load")
    port, ask = free_port(), Kind(1, 0)
    command = ["taskset", "--cpu-list", str(first), *dropserve(subject.folder.parent.parent, port)]
    os.sched_setaffinity(0, others)
    try:
        with started(command, {}, port, subject.path(ask), subject.request(ask)) as server:
            yield server
    finally:
        os.sched_setaffinity(0, before)


def busy(server: Server, subject: Subject, ask: Kind, seconds: int, connections: int = CONNECTIONS) -> Measured:
    """Keep the worker busy with such requests. Raises NotRun if one is not answered with 200."""
    request, path = subject.request(ask), subject.path(ask)
    received = len(server.ask(path, request))  # the first request makes the masks
    file = Path("build/scaling.requests")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_requests(file, server.port, path, [request])
    before = cpu_seconds(server.pid)
    load = put(server.port, file, connections, seconds)
    used = cpu_seconds(server.pid) - before
    if load.refused or load.broken:
        raise NotRun(f"{ask}: {load.refused} requests were refused, {load.broken} broken")
    sent = len(on_the_wire(server.port, path, request))
    return Measured(ask, used / load.requests, load.per_second, load.p50_ms, load.p99_ms, sent, received)
