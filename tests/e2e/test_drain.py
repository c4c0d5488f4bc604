"""A service told to stop finishes what it was asked, and takes nothing more."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import httpx
import pytest

from tests.conftest import PATIENCE, wait_until
from tests.toy import ToyNet

HEAVY = {"inputs": [[0.5, 0.5, 0.5, 0.5]] * 100, "samples": 4_000}
"""A few seconds of a network as wide as this one."""
WIDTH = 4096
LONG = 300.0
"""Seconds that a busy machine may take for it."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process of a service in which one long request may be worked on, and its port."""
    ToyNet(hidden=WIDTH).publish(tmp_path)
    command = [sys.executable, "-m", "service", "serve", "--models", str(tmp_path), "--port", "0"]
    deadlines = dict.fromkeys(("DROPSERVE_REQUEST_TIMEOUT", "DROPSERVE_DRAIN_TIMEOUT"), str(LONG))
    environment = os.environ | {"DROPSERVE_QUEUE_SIZE": "1"} | deadlines
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        yield process, read_port(process)
    finally:
        process.kill()
        process.communicate()


def read_port(process: subprocess.Popen[str]) -> int:
    """From the log, where a service on a free port says which it took."""
    assert process.stderr
    for line in process.stderr:
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", json.loads(line)["event"]):
            return int(found[1])
    raise AssertionError("the service ended before it listened")


def listens(port: int) -> bool:
    """While the door is being closed, who knocks is told only when he knocks again, a second later."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_answered_and_no_other_taken(
    service: tuple[subprocess.Popen[str], int], stop: signal.Signals
) -> None:
    process, port = service
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(httpx.post, f"{url}/uncertainty", json=HEAVY, timeout=LONG) for _ in range(2)]
        refused, admitted = wait(asked, return_when=FIRST_COMPLETED)
        assert refused.pop().result().status_code == 429
        in_flight = admitted.pop()

        process.send_signal(stop)
        wait_until(lambda: not listens(port))
        assert not in_flight.done()
        assert process.poll() is None
        answer = in_flight.result()
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 100
    assert process.wait(PATIENCE) == 0


def test_sigterm_exits_with_0(published: Path) -> None:
    """uvicorn raises the signal again after it has drained: -15, which compose and Kubernetes count as a crash."""
    command = [sys.executable, "-m", "service", "serve", "--models", str(published), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        next(line for line in process.stderr if "running on" in line)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(PATIENCE) == 0


def test_a_request_cut_off_by_the_drain_timeout_is_told_in_the_form_of_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was: 500, text/plain, «Internal Server Error», and a stack trace in the log."""
    ToyNet(hidden=4096).publish(tmp_path)
    monkeypatch.setenv("DROPSERVE_DRAIN_TIMEOUT", "1")
    monkeypatch.setenv("DROPSERVE_QUEUE_SIZE", "1")
    command = [sys.executable, "-m", "service", "serve", "--models", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        line = next(line for line in process.stderr if "running on" in line)
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found
        url = found[0]
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        body = {"inputs": [[0.5] * 4] * 100, "samples": 10_000}
        with ThreadPoolExecutor(2) as threads:
            asked = [threads.submit(httpx.post, f"{url}/uncertainty", json=body, timeout=PATIENCE) for _ in range(2)]
            _, admitted = wait(asked, return_when=FIRST_COMPLETED)
            process.send_signal(signal.SIGTERM)
            answer = admitted.pop().result()
        assert answer.status_code == 503
        assert "error" in answer.json()
        assert "Traceback" not in process.stderr.read()
