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

HEAVY = {"inputs": [[0.5, 0.5, 0.5, 0.5]] * 100, "samples": 10_000}
"""The most that a caller may ask: a few seconds of a network as wide as this one."""
WIDTH = 4096


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process of a service in which one long request may be worked on, and its port."""
    ToyNet(hidden=WIDTH).publish(tmp_path)
    command = [sys.executable, "-m", "service", "serve", "--models", str(tmp_path), "--port", "0"]
    environment = os.environ | {"DROPSERVE_QUEUE_SIZE": "1"}
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
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
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
        asked = [threads.submit(httpx.post, f"{url}/uncertainty", json=HEAVY, timeout=PATIENCE) for _ in range(2)]
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
