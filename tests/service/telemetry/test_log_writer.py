"""Log lines never keep anybody waiting, whatever becomes of them."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.telemetry import log_writer
from service.telemetry.log_writer import LogWriter, count_dropped
from service.telemetry.logs import log_records
from service.telemetry.records import Record
from tests.conftest import PATIENCE, Serve, wait_until
from tests.ports import free_port
from tests.service.telemetry.test_logs import logging_to

FULL = 2**17
"""More bytes than a pipe holds."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def say(event: str) -> None:
    logging.getLogger("service.test").warning(event)


def numbered(thread: int, number: int) -> Record:
    return Record("GET", "/", {b"x-request-id": b"%d-%d" % (thread, number)})


def read_lines(reader: int, last: str) -> list[str]:
    """The events in a pipe, up to one that begins so."""
    content = b""
    while not any(event.startswith(last) for event in _events(content)):
        content += os.read(reader, 2**16)
    return _events(content)


def _events(content: bytes) -> list[str]:
    return [json.loads(line)["event"] for line in content.split(b"\n")[:-1]]


def test_an_unread_pipe_delays_no_request(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pipe
    monkeypatch.setattr(log_writer, "MAX_WAITING_BYTES", 2 * FULL)
    with logging_to(writer):
        before = count_dropped()
        for _ in range(10):
            say("x" * FULL)
        assert count_dropped() - before == 9
        events = read_lines(reader, "log lines were dropped")  # once somebody reads again
        assert [len(event) for event in events[:-1]] == [FULL]
        say("and so on")
        assert read_lines(reader, "and")[-1] == "and so on"


def test_dropped_lines_are_counted(
    pipe: tuple[int, int], serve: Serve, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "MAX_WAITING_BYTES", 100)
    with logging_to(pipe[1]), serve(models=published, access_log=True) as client:
        client.get("/healthz")
        metrics = client.get("/metrics").text
        assert "\ndropserve_log_lines_dropped_total " in metrics
        assert "\ndropserve_log_lines_dropped_total 0.0" not in metrics


@pytest.mark.parametrize("closed", [False, True], ids=["full", "closed"])
def test_a_descriptor_that_cannot_be_written_drops_each_line(closed: bool) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    writer = LogWriter(descriptor)
    if closed:
        os.close(descriptor)
    for _ in range(3):
        writer.handle(logging.makeLogRecord({"msg": "lost"}))
    writer.flush()
    writer.close()
    assert writer.dropped == 3
    if not closed:
        os.close(descriptor)


def test_lines_dropped_together_are_counted_one_by_one(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "MAX_WAITING_BYTES", 100)
    with logging_to(pipe[1]):
        before = count_dropped()
        log_records([numbered(0, number) for number in range(7)])
        assert count_dropped() - before == 7


def test_events_that_cannot_be_formatted_are_dropped(pipe: tuple[int, int]) -> None:
    with logging_to(pipe[1]):
        before = count_dropped()
        log_records([Record("GET", "/\udc80", {})])  # half a character, which no request has
        log_records([numbered(0, 0)])
        assert read_lines(pipe[0], "log lines")[-2:] == [
            "request",
            "log lines were dropped: stderr did not accept them",
        ]
        assert count_dropped() - before == 1


def test_no_line_of_concurrent_threads_is_lost_or_torn(pipe: tuple[int, int]) -> None:
    """Each thread logs requests that end together, more than a pipe takes at once, and single lines between them."""
    threads, rounds, together = 4, 20, 30

    def log_all(thread: int) -> None:
        for first in range(0, rounds * (together + 1), together + 1):
            log_records([numbered(thread, number) for number in range(first, first + together)])
            logging.getLogger("service.test").warning("%d-%d", thread, first + together)

    with logging_to(pipe[1]):
        before = count_dropped()
        running = [threading.Thread(target=log_all, args=(thread,)) for thread in range(threads)]
        for thread in running:
            thread.start()
        content = b""
        while content.count(b"\n") < threads * rounds * (together + 1):
            content += os.read(pipe[0], 2**16)
        for thread in running:
            thread.join()
        assert count_dropped() == before
    lines = [json.loads(line) for line in content.splitlines()]
    found = [line.get("request_id", line["event"]).split("-") for line in lines]
    for of in range(threads):
        numbers = [int(number) for thread, number in found if thread == str(of)]
        assert numbers == [*range(rounds * (together + 1))]


LOG_MANY = """
import sys
from service.telemetry.logs import configure_logging, log_records
from service.telemetry.records import Record
configure_logging("info")
for _ in range(30):
    log_records([Record("GET", "/", {b"x-request-id": sys.argv[1].encode() * 128}) for _ in range(60)])
"""
MANY = 30 * 60


def log_many(name: str, descriptor: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", LOG_MANY, name], stderr=descriptor)


def count_ids(content: bytes) -> dict[str, int]:
    found = [json.loads(line)["request_id"] for line in content.splitlines()]
    return {name: found.count(name * 128) for name in "ab"}


def test_lines_of_concurrent_processes_are_not_torn(pipe: tuple[int, int]) -> None:
    """Even though the pipe is full again and again."""
    processes = [log_many(name, pipe[1]) for name in "ab"]
    content = b""
    while content.count(b"\n") < 2 * MANY:
        content += os.read(pipe[0], 2**16)
    for process in processes:
        assert process.wait(PATIENCE) == 0
    assert count_ids(content) == {"a": MANY, "b": MANY}


def test_lines_of_concurrent_processes_are_whole_in_a_file(tmp_path: Path) -> None:
    """Although each process writes all its waiting lines at once."""
    with (tmp_path / "log").open("wb") as log:
        for process in [log_many(name, log.fileno()) for name in "ab"]:
            assert process.wait(PATIENCE) == 0
    assert count_ids((tmp_path / "log").read_bytes()) == {"a": MANY, "b": MANY}


def test_a_descriptor_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    with logging_to(writer):
        say("x" * FULL)
        say("last")
        assert [len(event) for event in read_lines(reader, "last")] == [FULL, 4]


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    """As on a disk that is full for a while."""
    script = """
import logging, resource, signal, sys
from service.telemetry.logs import configure_logging
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
configure_logging("info")
[handler] = logging.getLogger().handlers
logging.info("x" * 2000)
handler.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
logging.info("whole")
"""
    with (tmp_path / "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", script], stderr=log, check=True)
    torn, whole, dropped = (tmp_path / "log").read_text().splitlines()
    assert len(torn) == 1000
    assert json.loads(whole)["event"] == "whole"
    assert json.loads(dropped)["lines"] == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_whose_log_is_unread_answers_and_ends(pipe: tuple[int, int], published: Path, workers: str) -> None:
    port = free_port()
    options = ["--port", str(port), "--workers", workers, "--models", str(published)]
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve", *options],
        stderr=pipe[1],
        env=os.environ | {"DROPSERVE_ACCESS_LOG": "true"},
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            wait_until(lambda: _is_ready(client), 3 * PATIENCE)  # two workers start on a busy machine
            for _ in range(FULL // 300):  # bytes of a line, at the least
                assert client.get("/healthz", headers={"x-request-id": "x" * 128}).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()


def test_a_service_without_stderr_serves(published: Path) -> None:
    """And writes no line to the socket that it listens on, or whatever else it opened first."""
    port = free_port()
    command = f"exec {sys.executable} -m service serve --port {port} --models {published} 2>&- >&-"
    process = subprocess.Popen(["sh", "-c", command])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            wait_until(lambda: _is_ready(client), PATIENCE)
        assert {Path(f"/proc/{process.pid}/fd/{number}").readlink() for number in (1, 2)} == {Path(os.devnull)}
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
