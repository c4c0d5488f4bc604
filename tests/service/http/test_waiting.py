"""Requests that waited for long to be read are refused; health checks are not."""

import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.service.processes import service

MAX_WAIT, STOPPED = 0.1, 0.2
"""Seconds; the kernel's clock says how long a request waited, and a longer stop ends the same."""
IDLE_TIMEOUT, LONGER_THAN_REST = 2, 2.5
QUESTION = b"POST /predict HTTP/1.1\r\nhost: toy\r\ncontent-length: 2\r\n\r\n{}"
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: toy\r\n\r\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when data came")
def test_a_question_that_waited_long_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    with service(tmp_path, DROPSERVE_MAX_WAIT=str(MAX_WAIT)) as running:
        address = (running.client.base_url.host, running.client.base_url.port or 0)
        rested = socket.create_connection(address, 30)
        running.process.send_signal(signal.SIGSTOP)
        try:
            callers = [rested, *(socket.create_connection(address, 30) for _ in range(2))]
            for caller, said in zip(callers, (QUESTION, QUESTION, HEALTH), strict=True):
                caller.sendall(said)
            time.sleep(STOPPED)
        finally:
            running.process.send_signal(signal.SIGCONT)
        answers = [caller.recv(2**16) for caller in callers]
        assert [answer[9:12] for answer in answers] == [b"429", b"429", b"200"]
        assert b"retry-after: 1\r\n" in answers[0]
        rested.sendall(HEALTH)
        assert rested.recv(2**16)[9:12] == b"200"
        for caller in callers:
            caller.close()


def test_a_request_on_a_connection_that_rested_is_read_before_its_time_is_up(tmp_path: Path) -> None:
    """It was lost: a process that was kept from its work closed first, and read then."""
    with service(tmp_path, DROPSERVE_IDLE_TIMEOUT=str(IDLE_TIMEOUT)) as running:
        address = (running.client.base_url.host, running.client.base_url.port or 0)
        callers = [socket.create_connection(address, 30) for _ in range(20)]
        rested = callers[:10]
        for caller in rested:
            caller.sendall(HEALTH)
            assert caller.recv(2**16)[9:12] == b"200"
        running.process.send_signal(signal.SIGSTOP)
        try:
            for caller in callers:
                caller.sendall(HEALTH)
            time.sleep(LONGER_THAN_REST)
        finally:
            running.process.send_signal(signal.SIGCONT)
        assert [caller.recv(2**16)[9:12] for caller in callers] == [b"200"] * 20
        for caller in callers:
            caller.close()
