"""Files entered and functions called below service/ for one request: `python -m tools.calls`, with `--list` by name.

The service runs in this process; of each request, answered some times before, the median of several is counted, from
the connection's data to the end of what is done for it. A function that goes on after a wait is counted again.
"""

import http.client
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Annotated, Any

import orjson
import typer

import service
from service import Settings
from service.http.server import run_server

ROOT = str(Path(service.__file__).parent) + os.sep
REPEATS = 11
SETTLE_SECONDS = 0.02
"""Waited after an answer, as the service logs and counts after its write."""
PARTS = {"<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>", "<lambda>"}
"""Parts of a function that newer Pythons do not call, or that have no name to be found by."""

Calls = Counter[CodeType]


class Recorder:
    """The functions below service/ that are called while it records, in whichever thread."""

    def __init__(self) -> None:
        self._calls: Calls | None = None

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Note a call; `sys.setprofile` takes this."""
        calls, code = self._calls, frame.f_code
        if calls is not None and event == "call" and code.co_filename.startswith(ROOT) and code.co_name not in PARTS:
            calls[code] += 1

    @contextmanager
    def recording(self) -> Iterator[Calls]:
        """Record what is called in the block."""
        self._calls = Counter()
        try:
            yield self._calls
        finally:
            self._calls = None


def main(
    model: Annotated[str, typer.Option(help="Name of the model, in models/.")] = "digits",
    list_calls: Annotated[bool, typer.Option("--list", help="Print each function, too.")] = False,
) -> None:
    """Print a table: files, functions and calls of one request to each path."""
    port = _free_port()
    recorder = Recorder()
    threading.Thread(target=_measure, args=(port, model, recorder, list_calls), daemon=True).start()
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    with suppress(SystemExit):
        run_server(Settings(port=port, default_model=model, log_level="error"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def _measure(port: int, model: str, recorder: Recorder, list_calls: bool) -> None:
    try:
        _print_table(port, model, recorder, list_calls)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)


def _print_table(port: int, model: str, recorder: Recorder, list_calls: bool) -> None:
    client = _connect(port)
    rows = orjson.loads(_send(client, "GET", f"/v1/models/{model}/examples"))["inputs"][:1]
    bodies = {"/predict": {"inputs": rows}, "/uncertainty": {"inputs": rows, "samples": 30, "seed": 1}}
    typer.echo("| request | files | functions | calls |\n|---|--:|--:|--:|")
    for path, body in bodies.items():
        calls = _median([_record(client, path, orjson.dumps(body), recorder) for _ in range(REPEATS)])
        files = {code.co_filename for code in calls}
        typer.echo(f"| {path} | {len(files)} | {len(calls)} | {calls.total()} |")
        for code, count in calls.items() if list_calls else ():
            typer.echo(f"  {count:3} {code.co_filename.removeprefix(ROOT)}:{code.co_firstlineno} {code.co_qualname}")


def _connect(port: int) -> http.client.HTTPConnection:
    """Return a connection to the service once its models serve."""
    while True:
        client = http.client.HTTPConnection("127.0.0.1", port)
        with suppress(OSError):
            client.request("GET", "/readyz")
            response = client.getresponse()
            response.read()
            if response.status == 200:
                return client
        time.sleep(0.1)


def _send(client: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    client.request(method, path, body, {"content-type": "application/json"} if body else {})
    response = client.getresponse()
    content = response.read()
    if response.status != 200:
        raise SystemExit(f"{path}: {response.status} {content!r}")
    return content


def _record(client: http.client.HTTPConnection, path: str, body: bytes, recorder: Recorder) -> Calls:
    with recorder.recording() as calls:
        _send(client, "POST", path, body)
        time.sleep(SETTLE_SECONDS)
    return calls


def _median(recorded: Sequence[Calls]) -> Calls:
    return sorted(recorded, key=Calls.total)[len(recorded) // 2]


if __name__ == "__main__":
    typer.run(main)
