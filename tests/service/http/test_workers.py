"""Several workers as one service: one count, one set of settings, one end. Real processes throughout."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from service.__main__ import cli
from service.config import Settings
from service.http.supervisor import CHECK_INTERVAL, HEARTBEAT_TIMEOUT, Worker
from service.telemetry.metrics import REQUESTS, Numbers
from service.telemetry.workers import Slot
from tests.conftest import PATIENCE, wait_until
from tests.service.processes import Service, service, worker_pids
from tests.service.telemetry.test_metrics import scrape
from tests.toy import ToyNet


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


COUNTED = {"route": "/predict", "model": "toy", "version": "2", "status": "200"}


def ask(running: Service, times: int) -> None:
    """Over a connection each, so that the workers share them."""
    for _ in range(times):
        with httpx.Client(base_url=running.client.base_url, timeout=PATIENCE) as client:
            assert client.post("/predict", json={"inputs": [[0.5] * 4]}).status_code == 200


def counts(running: Service, name: str, **labels: str) -> float:
    """As any worker tells it: by a connection of its own."""
    with httpx.Client(base_url=running.client.base_url, timeout=PATIENCE) as client:
        return scrape(client).get((name, frozenset(labels.items())), 0.0)


def test_workers_share_settings_counts_and_an_end(tmp_path: Path, published: Path) -> None:
    options = ("--workers", "2", "--models", str(published), "--host", "127.0.0.1")
    with service(tmp_path, *options, DROPSERVE_MAX_ROWS="1") as running:
        wait_until(lambda: counts(running, "dropserve_workers") == 2)
        ask(running, 20)
        for _ in range(5):  # whichever worker is asked
            wait_until(lambda: counts(running, "dropserve_requests_total", **COUNTED) == 20)
        too_many = running.client.post("/predict", json={"inputs": [[0.5] * 4] * 2})
        assert too_many.json()["error"]["details"]["limit"] == 1
        for worker in "01":
            assert counts(running, "process_resident_memory_bytes", worker=worker) > 2**20

        # one is killed: another takes its place and its count
        before = worker_pids(running)
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(worker_pids(running)) == 2 and worker_pids(running) != before)
        wait_until(lambda: len(running.said("Application startup complete.")) == 3)
        wait_until(lambda: counts(running, "dropserve_workers") == 2)
        assert counts(running, "dropserve_worker_deaths_total") == 1
        ask(running, 10)
        wait_until(lambda: counts(running, "dropserve_requests_total", **COUNTED) >= 10)
        assert counts(running, "dropserve_requests_total", **COUNTED) <= 30

        pids = worker_pids(running)
        assert running.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        [death] = running.said("a worker died and is replaced")
        assert (death["level"], death["reason"]) == ("warning", "SIGKILL")
    assert not [line for line in running.log() if line["level"] == "error"]


def test_all_that_was_accepted_is_answered_before_the_end(tmp_path: Path) -> None:
    ToyNet(hidden=4096).publish(tmp_path / "models")
    body = {"inputs": [[0.5] * 4] * 100, "samples": 2_000}
    options = ("--workers", "2", "--models", str(tmp_path / "models"))
    with (
        service(tmp_path, *options, DROPSERVE_REQUEST_TIMEOUT="300") as running,  # none is refused on a busy machine
        ThreadPoolExecutor(3) as pool,
        httpx.Client(base_url=running.client.base_url) as idle,
    ):
        assert idle.get("/healthz").status_code == 200  # and its connection is kept alive
        url = f"{running.client.base_url}/uncertainty"
        heavy = [pool.submit(httpx.post, url, json=body, timeout=PATIENCE) for _ in range(3)]
        wait_until(lambda: counts(running, "dropserve_queue_depth") == 3)
        assert running.stop() == 0
        assert [answer.result().status_code for answer in heavy] == [200] * 3
    with pytest.raises(httpx.ConnectError):
        httpx.get(str(running.client.base_url))


def test_one_worker_drains_too(tmp_path: Path) -> None:
    """Told to stop, it says at once that it is not ready, and answers until the balancer has had its time."""
    ToyNet().publish(tmp_path / "models")
    options = ("--models", str(tmp_path / "models"))
    with service(tmp_path, *options, DROPSERVE_DRAIN_DELAY="2") as running:
        assert running.client.get("/readyz").status_code == 200
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: len(running.said("stopping")) == 1)
        unready = httpx.get(f"{running.client.base_url}/readyz")  # over a new connection
        assert unready.status_code == 503
        assert unready.json()["error"]["message"] == "the service is stopping"
        assert running.client.post("/predict", json={"inputs": [[0.5] * 4]}).status_code == 200
        assert running.process.wait(PATIENCE) == 0


def test_connections_that_wait_to_be_accepted_are_answered(tmp_path: Path, published: Path) -> None:
    """As on a busy machine: they would be reset when the port is closed."""
    with service(tmp_path, "--models", str(published)) as running, ExitStack() as stack:
        address = ("127.0.0.1", running.client.base_url.port or 0)
        running.process.send_signal(signal.SIGSTOP)
        callers = [stack.enter_context(socket.create_connection(address, PATIENCE)) for _ in range(20)]
        for caller in callers:
            caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        running.process.send_signal(signal.SIGTERM)
        running.process.send_signal(signal.SIGCONT)
        answers = [read_to_end(caller).lower() for caller in callers]
        assert running.process.wait(PATIENCE) == 0
    assert all(answer.startswith(b"http/1.1 200 ") and b"connection: close" in answer for answer in answers)


def read_to_end(caller: socket.socket) -> bytes:
    with caller.makefile("rb") as file:
        return file.read()


def test_a_port_that_is_taken_stops_the_service(tmp_path: Path, published: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        options = ("--port", str(taken.getsockname()[1]), "--workers", "2", "--models", str(published))
        with pytest.raises(AssertionError, match="Error: --port: expected a free port"), service(tmp_path, *options):
            pass


@pytest.mark.parametrize("given", ["0", "-1", "two", "257"])
def test_workers_are_counted_from_one(given: str) -> None:
    """And so many that a machine can hold them."""
    assert CliRunner().invoke(cli, ["serve", "--workers", given]).exit_code == 2


def test_a_folder_of_state_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(
        cli, ["serve", "--workers", "2"], env={"DROPSERVE_STATE": str(tmp_path / "file" / "state")}
    )
    assert result.exit_code == 1
    assert "DROPSERVE_STATE: expected a writable folder" in " ".join(result.output.split())


def test_a_port_of_grpc_must_be_one_that_workers_can_share() -> None:
    result = CliRunner().invoke(cli, ["serve", "--workers", "2"], env={"DROPSERVE_GRPC_PORT": "0"})
    assert result.exit_code == 1
    assert "DROPSERVE_GRPC_PORT: expected a port that all workers share" in " ".join(result.output.split())


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch, published: Path) -> Iterator[tuple[Worker, Clock]]:
    """A worker that sends no heartbeat any more, and the clock of its supervisor."""
    clock = Clock()
    monkeypatch.setattr("service.http.supervisor.monotonic", clock)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        worker = Worker(Settings(models=published), [listening])
        try:
            os.kill(worker.pid, signal.SIGSTOP)
            wait_until(lambda: Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
            assert worker.find_end() is None  # and all heartbeats of before are received
            yield worker, clock
        finally:
            worker.join(0)


def end_within(seconds: float, worker: Worker, clock: Clock) -> str | None:
    """The end that the regular checks of a supervisor find within so many seconds."""
    for _ in range(round(seconds / CHECK_INTERVAL)):
        clock.now += CHECK_INTERVAL
        if end := worker.find_end():
            return end
    return None


def test_a_worker_that_is_kept_from_its_work_is_left_alone(stopped: tuple[Worker, Clock]) -> None:
    """As one that starts on a busy machine is."""
    assert end_within(HEARTBEAT_TIMEOUT, *stopped) is None


def test_a_worker_that_hangs_is_killed(stopped: tuple[Worker, Clock]) -> None:
    worker, clock = stopped
    assert end_within(HEARTBEAT_TIMEOUT + 1, worker, clock) == "it hung"
    assert not Path(f"/proc/{worker.pid}").exists()


def test_a_pause_of_the_supervisor_is_no_silence_of_its_workers(stopped: tuple[Worker, Clock]) -> None:
    """As where a container is paused, or all processes of a terminal are stopped."""
    worker, clock = stopped
    clock.now += 100 * HEARTBEAT_TIMEOUT
    assert worker.find_end() is None


def test_the_death_of_a_stopped_worker_is_found(stopped: tuple[Worker, Clock]) -> None:
    """Its death is seen as such before it counts as hanging."""
    worker, _ = stopped
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: worker.exitcode is not None)
    assert worker.find_end() == "SIGKILL"


def test_a_worker_interrupted_during_its_start_ends_in_order(tmp_path: Path, published: Path) -> None:
    """Ctrl-C reaches every process of a terminal's group; an interrupted start would print a traceback."""
    log = tmp_path / "log"
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--workers", "2", "--models", str(published)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        running = Service(httpx.Client(), process, log)
        try:
            wait_until(lambda: len(worker_pids(running)) == 2)
            for pid in worker_pids(running):
                os.kill(pid, signal.SIGINT)
            wait_until(lambda: len(running.said("a worker died and is replaced")) == 2)
            assert {line["reason"] for line in running.said("a worker died and is replaced")} == {"exit code 0"}
        finally:
            process.terminate()
    assert len(running.log()) == len(log.read_text().splitlines())


def test_a_worker_that_hangs_delays_no_request(tmp_path: Path, published: Path) -> None:
    """The death of another is seen, and the service ends in its time, and the hanging worker with it."""
    options = ("--workers", "2", "--models", str(published))
    with service(tmp_path, *options, DROPSERVE_DRAIN_TIMEOUT="1") as running:
        hanging, dying = sorted(worker_pids(running))
        os.kill(hanging, signal.SIGSTOP)
        os.kill(dying, signal.SIGKILL)
        wait_until(lambda: len(worker_pids(running) - {dying}) == 2)
        assert hanging in worker_pids(running)
        assert running.stop() == 0
        assert not Path(f"/proc/{hanging}").exists()
        assert [line["pid"] for line in running.said("a worker did not end in time and was killed")] == [hanging]


def test_workers_stop_where_their_supervisor_is_gone(tmp_path: Path, published: Path) -> None:
    """They would go on holding the port, with nothing that replaces them."""
    with service(tmp_path, "--workers", "2", "--models", str(published)) as running:
        pids = worker_pids(running)
        running.process.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


# slots

KEY = (REQUESTS.name, "/predict", "toy", "1", "200")


def test_a_slot_is_one_workers_and_its_successors(tmp_path: Path) -> None:
    first, second = Slot(tmp_path), Slot(tmp_path)
    assert (first.number, second.number) == (0, 1)
    first.write({KEY: [3.0], ("dropserve_queue_depth",): [7.0]})
    assert second.read_others() == [{KEY: [3.0], ("dropserve_queue_depth",): [7.0]}]
    assert first.read_others() == []
    os.close(first._lock)  # as the kernel does when a process dies
    successor = Slot(tmp_path)
    assert successor.number == 0
    assert successor.inherited == {KEY: [3.0]}
    assert Slot(tmp_path).number == 2


def test_a_worker_that_ends_leaves_its_count_and_nothing_else(tmp_path: Path) -> None:
    first, second = Slot(tmp_path), Slot(tmp_path)
    numbers: Numbers = {KEY: [3.0], ("dropserve_queue_depth",): [7.0]}
    first.write(numbers)
    first.close(numbers)
    assert second.read_others() == [{KEY: [3.0]}]
    assert Slot(tmp_path).inherited == {KEY: [3.0]}
