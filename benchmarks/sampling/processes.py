"""Environments and running processes of the contenders."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"

T = TypeVar("T")
Absent = dict[str, str]
"""Contenders that do not run, and the reason."""


class DoesNotRun(Exception):
    """A contender cannot be installed or started, or fails; the message gives the reason."""


def install(peer: str, folder: Path, peers: Path = PEERS) -> Path:
    """Return the Python of the peer's environment, made again when its requirements change; raise DoesNotRun."""
    requirements = peers / peer / "requirements.txt"
    if not requirements.exists():
        return Path(sys.executable)
    done = folder / peer / "installed.txt"
    python = folder.absolute() / peer / "bin" / "python"
    if not done.exists() or done.read_text() != requirements.read_text():
        venv.create(folder / peer, clear=True, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)]
        if (result := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:  # noqa: S603
            raise DoesNotRun(f"{peer} cannot be installed: {_last_line(result.stderr)}")
        done.write_text(requirements.read_text())
    return python


class Process:
    """A running contender; see `protocol`."""

    def __init__(self, peer: str, process: "subprocess.Popen[str]", log: Path) -> None:
        """Read the versions that the process reports first."""
        self._peer = peer
        self._process = process
        self._log = log
        self.versions: dict[str, str] = self._read()["versions"]

    def call(self, **request: Any) -> dict[str, Any]:
        """Return the reply; raise DoesNotRun with the contender's own error."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        reply = json.loads(self._process.stdout.readline() or json.dumps({"error": _last_line(self._log.read_text())}))
        if "error" in reply:
            raise DoesNotRun(f"{self._peer}: {reply['error']}")
        return dict(reply)


def each(peers: Iterable[str], absent: Absent, make: Callable[[str], T]) -> dict[str, T]:
    """Return what is made for each peer; failures are added to `absent`."""
    made = {}
    for peer in dict.fromkeys(peers):
        try:
            made[peer] = make(peer)
        except DoesNotRun as error:
            absent[peer] = str(error)
    return made


@contextmanager
def all_running(
    pythons: Mapping[str, Path], threads: int, logs: Path, absent: Absent, peers: str = f"{__package__}.peers"
) -> Iterator[dict[str, Process]]:
    """Yield the process of each contender that starts; `peers` is the package they are in."""
    with ExitStack() as stack:

        def start(peer: str) -> Process:
            return stack.enter_context(running(f"{peers}.{peer}", pythons[peer], threads, logs / f"{peer}.log"))

        yield each(pythons, absent, start)


@contextmanager
def running(module: str, python: Path, threads: int, log: Path) -> Iterator[Process]:
    """Start a contender on as many processors as threads; raise DoesNotRun."""
    command = [str(python), "-m", module, str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    with log.open("w") as stderr, _pinned(threads):
        process = subprocess.Popen(  # noqa: S603 - our own
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    with process:
        try:
            yield Process(module.rpartition(".")[2], process, log)
        finally:
            process.kill()


@contextmanager
def _pinned(processors: int) -> Iterator[None]:
    """Limit processes started here to so many processors, as some libraries have no setting for threads."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:processors])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it exited silently")
