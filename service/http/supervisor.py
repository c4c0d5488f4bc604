"""The supervisor of several worker processes, which starts, replaces and stops them."""

import gc
import multiprocessing
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic

import structlog

from service.config import Settings
from service.errors import DropserveError
from service.http.draining import STARTUP_FAILURE, STOP_SIGNALS
from service.telemetry.metrics import WORKER_DEATHS
from service.telemetry.workers import SupervisorCount

HEARTBEAT_INTERVAL = 1.0
"""Seconds between two heartbeats of a worker."""
HEARTBEAT_TIMEOUT = 30.0
"""Seconds without a heartbeat after which a worker counts as hanging; a start may take long on a busy machine."""
CHECK_INTERVAL = 0.5
"""Seconds between two checks of all workers."""
SECONDS_TO_SPARE = 5.0
"""Seconds that a worker may take to end after its drain."""

WAIT_FOR_START = (signal.SIGHUP, signal.SIGINT)
"""Signals that would end a process during its start; they stay pending until it handles them."""

SPAWN = multiprocessing.get_context("spawn")

log = structlog.get_logger(__name__)


class Supervisor:
    """Keeps `settings.workers` worker processes running until a stop signal, or until one cannot start."""

    def __init__(self, settings: Settings, state: Path, sockets: Sequence[socket.socket]) -> None:
        """Handle signals; `state` is the shared folder, `sockets` the listening sockets that workers inherit."""
        self._settings = settings
        self._sockets = sockets
        self._counted = SupervisorCount(state / "metrics")
        self._workers: list[Worker] = []
        self._signals: SimpleQueue[int] = SimpleQueue()  # its `put` may be interrupted by another signal
        resource_tracker.ensure_running()  # its start unblocks SIGINT, and the first worker would start it
        for number in (*STOP_SIGNALS, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._signals.put(number))

    def run(self) -> int:
        """Run until a stop signal, and return the exit code of the service."""
        code = 0
        gc.enable()  # it was off during the imports
        self._start_workers()
        while (number := self._next_signal()) not in STOP_SIGNALS:
            if number == signal.SIGHUP:
                self._reload()
            if not self._replace_ended():
                code = STARTUP_FAILURE
                break
        self._stop()
        return code

    def _start_workers(self) -> None:
        """Start one worker after another, unless a stop signal arrives meanwhile."""
        while len(self._workers) < self._settings.workers and self._signals.empty():
            self._workers.append(Worker(self._settings, self._sockets))

    def _next_signal(self) -> int | None:
        with suppress(Empty):
            return self._signals.get(timeout=CHECK_INTERVAL)
        return None

    def _reload(self) -> None:
        log.info("SIGHUP: keys and certificates are reloaded")
        for worker in self._workers:
            worker.send(signal.SIGHUP)

    def _replace_ended(self) -> bool:
        """Replace each worker that died or hangs. Return False if one could not start, as no other could."""
        for index, worker in enumerate(self._workers):
            reason = worker.find_end()
            if reason is None:
                continue
            if worker.exitcode == STARTUP_FAILURE:
                log.error("a worker failed to start; the service stops", pid=worker.pid)
                return False
            log.warning("a worker died and is replaced", pid=worker.pid, reason=reason)
            self._counted.count(WORKER_DEATHS)
            self._workers[index] = Worker(self._settings, self._sockets)
        return True

    def _stop(self) -> None:
        """Stop all workers; the port closes with the last one, so that no connection waits without being accepted."""
        for each in self._sockets:
            each.close()
        for worker in self._workers:
            worker.send(signal.SIGTERM)
        end = monotonic() + self._settings.drain_delay + self._settings.drain_timeout + SECONDS_TO_SPARE
        for worker in self._workers:
            if not worker.join(max(0.0, end - monotonic())):
                log.error("a worker did not end in time and was killed", pid=worker.pid)


class Worker:
    """The supervisor's handle of a worker process."""

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket]) -> None:
        """Start the process, which inherits the sockets."""
        self._life, life = SPAWN.Pipe(duplex=False)
        self._process = SPAWN.Process(target=_work, args=(settings, sockets, life))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, WAIT_FOR_START)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        life.close()
        self._checked = monotonic()
        self._silent = 0.0
        """Seconds without a heartbeat, not counting those in which the supervisor itself was paused."""

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._process.exitcode

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.exitcode is None:
            os.kill(self.pid, number)

    def find_end(self) -> str | None:
        """Return why the worker has ended, or None while it runs; a worker that hangs is killed."""
        now = monotonic()
        self._silent += min(now - self._checked, 2 * CHECK_INTERVAL)
        self._checked = now
        with suppress(EOFError):
            while self._life.poll():
                self._life.recv_bytes()
                self._silent = 0.0
        if self.exitcode is None and self._silent > HEARTBEAT_TIMEOUT:
            self.join(0.0)
            return "it hung"
        if self.exitcode is None:
            return None
        return signal.Signals(-self.exitcode).name if self.exitcode < 0 else f"exit code {self.exitcode}"

    def join(self, seconds: float) -> bool:
        """Wait for the end of the process. Return False if it was killed, as it did not end within `seconds`."""
        self._process.join(seconds)
        if self.exitcode is not None:
            return True
        self._process.kill()
        self._process.join()
        return False


def _work(settings: Settings, sockets: list[socket.socket], life: Connection) -> None:
    """Serve, in the worker process."""
    Thread(target=_send_heartbeats, args=(life,), name="heartbeat", daemon=True).start()
    gc.freeze()  # what was imported so far lives as long as the process
    from service.http.process import end_unless_started, make_server  # the application, which no supervisor needs

    try:
        server = make_server(settings)
    except DropserveError as error:
        log.error("a worker cannot start", reason=error.message)
        sys.exit(1)
    server.run(sockets)
    end_unless_started(server)


def _send_heartbeats(life: Connection) -> None:
    """Send heartbeats to the supervisor, and stop the process once the supervisor has ended."""
    closed = select.poll()
    closed.register(life, 0)  # errors alone, which a pipe has once its other end is closed
    with suppress(BrokenPipeError):
        while not closed.poll(1000 * HEARTBEAT_INTERVAL):
            life.send_bytes(b".")
    os.kill(os.getpid(), signal.SIGTERM)
