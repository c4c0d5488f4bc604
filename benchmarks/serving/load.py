"""Generate load with wrk: each connection sends the next request when the last is answered.

Latency is that of a closed loop, as seen by a caller that waits for each answer.
"""

import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

from benchmarks.serving.contenders import Request
from benchmarks.serving.failures import NotRun

SCRIPT = Path(__file__).parent / "post.lua"
IDS = 4096
"""Requests with different ids, four times as many as the heads that Dropserve remembers."""


class Load(NamedTuple):
    """Results of a load."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    """Answers with a status of 400 or more."""
    broken: int
    """Connections that failed, and answers that timed out."""

    @property
    def per_second(self) -> float:
        """Answers a second, without refusals."""
        return (self.requests - self.refused) / self.seconds


def wrk() -> str:
    """Return the path of the load generator; raise SystemExit if it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("wrk, the load generator, must be on the PATH: apt install wrk, or brew install wrk.")
    return found


def with_ids(requests: Sequence[Request]) -> list[Request]:
    """Return these requests over and over, each with an id of its own."""
    numbered = enumerate(islice(cycle(requests), IDS))
    return [one._replace(headers=one.headers | {"x-request-id": f"{number:08x}"}) for number, one in numbered]


def write_requests(file: Path, port: int, path: str, requests: Iterable[Request]) -> None:
    """Write requests for wrk, as they are sent."""
    with file.open("wb") as out:
        for request in requests:
            content = on_the_wire(port, path, request)
            out.write(b"%d\n" % len(content) + content)


def on_the_wire(port: int, path: str, request: Request) -> bytes:
    """Return a POST request of HTTP/1.1."""
    headers = {"host": f"127.0.0.1:{port}", "content-length": str(len(request.body)), **request.headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


def put(port: int, requests: Path, connections: int, seconds: int) -> Load:
    """Load a server with the requests of a file. Raises NotRun if wrk fails or all requests fail."""
    options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--timeout", "30s"]
    command = [wrk(), *options, "--script", str(SCRIPT), f"http://127.0.0.1:{port}", "--", str(requests)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        raise NotRun(f"wrk failed: {(done.stderr or done.stdout).strip()[-200:]}")
    load = outcome(done.stdout)
    if load.requests == load.refused:
        raise NotRun(f"nothing was answered in {seconds} s at {connections} connections")
    return load


def outcome(output: str) -> Load:
    """Read wrk's output; the script prints the results in the last line."""
    return Load(**json.loads(output.splitlines()[-1]))
