"""Start a server, wait for it, and stop it with all its processes."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import NamedTuple

from benchmarks.serving.contenders import BASELINE, OURS, Contender, Request
from benchmarks.serving.failures import NotRun
from benchmarks.serving.processes import descendants, is_running
from benchmarks.serving.subjects import Prepared

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
SECONDS_TO_START = 60
SECONDS_TO_STOP = 8
SECONDS_BETWEEN_PROBES = 0.01


class Installed(NamedTuple):
    """What a server runs on."""

    python: Path
    """The interpreter of its environment."""
    root: Path
    """The tree that it imports from."""
    subjects: Path
    """The folder of the networks that this tree published."""


class Server(NamedTuple):
    """A running server."""

    pid: int
    port: int
    ready_seconds: float
    """Seconds from its start to its first answer."""
    log: Path
    """The file of what it prints."""

    def ask(self, path: str, request: Request) -> bytes:
        """Return a reply's body. Raises NotRun on any status but 200, OSError or HTTPException without a reply."""
        return ask(self.port, path, request)


@contextmanager
def serving(contender: Contender, installed: Installed, prepared: Prepared, workers: int) -> Iterator[Server]:
    """Run a contender's server; raise NotRun if it does not answer."""
    port, request = free_port(), contender.encode(prepared.rows[0])
    variables = {
        "PYTHONPATH": str(installed.root.absolute()),
        "BENCHMARK_MODEL": str(prepared.graph.absolute()),
        "BENCHMARK_PORT": str(port),
        "BENCHMARK_WORKERS": str(workers),
    }
    if contender.server in (OURS, BASELINE):
        command = dropserve(prepared.models, port, workers, installed.python)
    else:
        command = [str(installed.python), "-m", f"benchmarks.serving.peers.{contender.server}.server"]
    with tempfile.TemporaryDirectory(prefix="settings-") as folder:
        variables |= contender.settings(Path(folder))
        with started(command, variables, port, contender.path, request) as server:
            yield server


def dropserve(models: Path, port: int, workers: int = 1, python: Path = Path(sys.executable)) -> list[str]:
    """Return the command that serves these models; peers are configured by their environment."""
    serve = [str(python), "-m", "service", "serve", "--models", str(models.absolute())]
    return [*serve, "--host", HOST, "--port", str(port), "--workers", str(workers)]


@contextmanager
def started(
    command: Sequence[str], variables: dict[str, str], port: int, path: str, request: Request
) -> Iterator[Server]:
    """Run a command's server in an empty folder; raise NotRun if it does not answer."""
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            start = perf_counter()
            process = subprocess.Popen(  # noqa: S603 - our own
                command, cwd=folder, env=environment(folder) | variables, stdout=out, stderr=subprocess.STDOUT
            )
        try:
            wait(process, port, path, request, log)
            yield Server(process.pid, port, perf_counter() - start, log)
        finally:
            stop(process)


def environment(folder: str) -> dict[str, str]:
    """Return a server's environment, without settings of Dropserve or Python, and with temporary folders."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DROPSERVE_", "PYTHON"))}
    return kept | {"PYTHONPATH": str(ROOT), "TMPDIR": folder, "RAY_TMPDIR": folder}


def wait(process: subprocess.Popen[bytes], port: int, path: str, request: Request, log: Path) -> None:
    """Wait until the first answer to the request."""
    deadline = perf_counter() + SECONDS_TO_START
    while perf_counter() < deadline:
        with suppress(OSError, http.client.HTTPException, NotRun):
            ask(port, path, request)
            return
        if process.poll() is not None:
            raise NotRun(f"it exited at its start: {complaint(log)}")
        sleep(SECONDS_BETWEEN_PROBES)
    raise NotRun(f"no answer in {SECONDS_TO_START} s: {complaint(log)}")


def complaint(log: Path) -> str:
    """Return the last line of the log that contains an error, else the last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["the log is empty"])[-1][:200]


def ask(port: int, path: str, request: Request) -> bytes:
    """Post a request; see `Server.ask`."""
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
    """Terminate the server, wait for all its processes, and kill those left after a while."""
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
    """Return a free port."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])
