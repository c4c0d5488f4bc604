"""Services as people run them: processes of their own, below `python -m service serve`."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.conftest import PATIENCE, wait_until

LISTENS = re.compile(r"running on (https?)://(?:\[.*\]|[^:]+):(\d+)")


class Service(NamedTuple):
    """A service that runs, and a client of it."""

    client: httpx.Client
    process: subprocess.Popen[bytes]
    log_file: Path

    def log(self) -> list[dict[str, Any]]:
        """Its lines so far."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines() if line.startswith("{")]

    def said(self, event: str) -> list[dict[str, Any]]:
        """Its lines of one event."""
        return [line for line in self.log() if line["event"] == event]

    def stop(self) -> int:
        """As an orchestrator does; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def service(folder: Path, *options: str, verify: Any = True, **environment: str) -> Iterator[Service]:
    """Start it on a free port; what it logs lies in the folder. Whatever a test does, it is stopped in the end."""
    log_file = folder / "log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve", "--port", "0", *options],
            stderr=log,
            stdout=log,
            env=os.environ | environment,
            cwd=Path(__file__).parents[2],
        )
    try:
        wait_until(lambda: LISTENS.search(log_file.read_text()) is not None or process.poll() is not None)
        listens = LISTENS.search(log_file.read_text())
        assert listens, log_file.read_text()
        scheme, port = listens.groups()
        with httpx.Client(base_url=f"{scheme}://localhost:{port}", timeout=PATIENCE, verify=verify) as client:
            wait_until(lambda: _is_up(client))
            yield Service(client, process, log_file)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()


def _is_up(client: httpx.Client) -> bool:
    try:
        return "being loaded" not in client.get("/readyz").text
    except httpx.TransportError:
        return False


def worker_pids(running: Service) -> set[int]:
    """The supervisor's children that serve, not multiprocessing's resource tracker."""
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
    return {int(pid) for pid in children if b"spawn_main" in _command(pid)}


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
