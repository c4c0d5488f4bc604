"""A contender's server: started, waited for, stopped with all that it started."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import NamedTuple

from benchmarks.serving.contenders import Contender, Request
from benchmarks.serving.failures import NotRun
from benchmarks.serving.processes import descendants, is_running
from benchmarks.serving.subjects import Prepared

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
SECONDS_TO_START = 60
SECONDS_TO_STOP = 8
SECONDS_BETWEEN_PROBES = 0.01


class Server(NamedTuple):
    """One that answers."""

    pid: int
    port: int
    ready_seconds: float
    """From its start to its first answer."""

    def ask(self, path: str, request: Request) -> bytes:
        """A reply's body. Raises NotRun on any status but 200, OSError or HTTPException where there is none."""
        return ask(self.port, path, request)


@contextmanager
def serving(contender: Contender, python: Path, prepared: Prepared, workers: int) -> Iterator[Server]:
    """A server of the contender, in an empty folder of its own; raises NotRun if it does not come to answer."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            start = perf_counter()
            process = subprocess.Popen(  # noqa: S603 - our own
                command(contender, python, prepared, port, workers),
                cwd=folder,
                env=environment(folder, prepared, port, workers),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            wait(process, port, contender, prepared, log)
            yield Server(process.pid, port, perf_counter() - start)
        finally:
            stop(process)


def command(contender: Contender, python: Path, prepared: Prepared, port: int, workers: int) -> list[str]:
    """Dropserve is told by options, a peer by its environment."""
    if contender.peer:
        return [str(python), "-m", f"benchmarks.serving.peers.{contender.peer}.server"]
    serve = [sys.executable, "-m", "service", "serve", "--models", str(prepared.models.absolute())]
    return [*serve, "--host", HOST, "--port", str(port), "--workers", str(workers)]


def environment(folder: str, prepared: Prepared, port: int, workers: int) -> dict[str, str]:
    """Of the server's process: nothing that would change Dropserve's defaults, no trace left in the system."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DROPSERVE_", "PYTHON"))}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "TMPDIR": folder,
        "RAY_TMPDIR": folder,
        "BENCHMARK_MODEL": str(prepared.graph.absolute()),
        "BENCHMARK_PORT": str(port),
        "BENCHMARK_WORKERS": str(workers),
    }


def wait(process: subprocess.Popen[bytes], port: int, contender: Contender, prepared: Prepared, log: Path) -> None:
    """Until the first answer to what the contender will be asked."""
    request = contender.encode(prepared.rows[0])
    deadline = perf_counter() + SECONDS_TO_START
    while perf_counter() < deadline:
        with suppress(OSError, http.client.HTTPException, NotRun):
            ask(port, contender.path, request)
            return
        if process.poll() is not None:
            raise NotRun(f"it ended as it started: {complaint(log)}")
        sleep(SECONDS_BETWEEN_PROBES)
    raise NotRun(f"no answer in {SECONDS_TO_START} s: {complaint(log)}")


def complaint(log: Path) -> str:
    """The last line of what the server said that speaks of an error; if none does, the last."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["nothing was said"])[-1][:200]


def ask(port: int, path: str, request: Request) -> bytes:
    """See `Server.ask`."""
    connection = http.client.HTTPConnection(HOST, port, timeout=SECONDS_TO_START)
    try:
        connection.request("POST", path, request.body, request.headers)
        reply = connection.getresponse()
        body = reply.read()
    finally:
        connection.close()
    if reply.status != http.HTTPStatus.OK:
        raise NotRun(f"answered with status {reply.status}: {body[:200].decode(errors='replace')}")
    return body


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, wait for it and for all that it started, and kill what is left after a while."""
    tree = descendants(process.pid)
    process.terminate()
    deadline = perf_counter() + SECONDS_TO_STOP
    while any(map(is_running, tree)) and perf_counter() < deadline:
        process.poll()
        sleep(SECONDS_BETWEEN_PROBES)
    for pid in filter(is_running, tree):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])
