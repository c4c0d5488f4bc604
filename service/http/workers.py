"""Several processes that serve, and the supervisor that keeps them: uvicorn's, which is never kept waiting by one."""

import os
import signal
import socket
import sys
from pathlib import Path
from threading import Event
from time import monotonic

import structlog
import uvicorn
import uvicorn.supervisors.multiprocess as supervisor
from uvicorn.config import STARTUP_FAILURE

from service.config import Settings
from service.errors import DropserveError
from service.http.app import create_app
from service.http.draining import close_the_door
from service.http.process import configure_process
from service.telemetry.metrics import WORKER_DEATHS
from service.telemetry.workers import SupervisorCount

SILENCE = 30
"""Seconds that a worker may owe its supervisor a word, from its start on. uvicorn's 5 are less than a start may take
on a busy machine: it killed workers before they served."""
LONGER = 5.0
"""Seconds that a worker may take to end, beyond those that its requests are given."""

log = structlog.get_logger(__name__)


class Worker(supervisor.Process):
    """A process that serves, seen from its supervisor; `target` is what it runs itself."""

    _asked: float | None = None
    """When it was asked for a word that it owes still."""

    def start(self) -> None:
        """The worker's end of the pipe is its own only, so that the pipe ends with it.

        SIGHUP, which would end a process that is not ready for it yet, waits until it is.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.child_conn.close()

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve by the environment, in the process itself: what its server needs cannot be handed to it."""
        try:
            self.config = configure_process(Settings())
        except DropserveError as error:
            log.error("a worker cannot start", reason=error.message)
            sys.exit(1)
        super().target(sockets)

    def is_alive(self, timeout: float = SILENCE) -> bool:
        """Whether it was heard within so many seconds of being asked. Does not wait: others may have died meanwhile,
        or the supervisor been told to stop.
        """
        try:
            if self._asked is None:
                self.parent_conn.send(b"ping")
                self._asked = monotonic()
            while self.parent_conn.poll():
                self.parent_conn.recv()
                self._asked = None
        except (OSError, EOFError):
            return False
        return self.process.is_alive() and (self._asked is None or monotonic() - self._asked < timeout)

    def bury(self) -> str:
        """Let go of one that died or hangs; why it did not serve any more."""
        hangs = self.process.is_alive()
        self.kill()
        self.process.join()
        code = self.exitcode or 0
        return "it hung" if hangs else signal.Signals(-code).name if code < 0 else f"exit code {code}"


class Workers(supervisor.Multiprocess):
    """uvicorn's supervisor, which lets go of the port when it is told to stop: it would keep it until all workers have
    ended, and callers would wait at a port where nobody answers any more.
    """

    def __init__(self, settings: Settings, state: Path, sockets: list[socket.socket]) -> None:
        config = uvicorn.Config(create_app, factory=True, workers=settings.workers, log_config=None)
        super().__init__(config, sockets)
        supervisor.Process = Worker  # type: ignore[misc]  # of which it makes its processes, and has no way to be told
        self._drain_delay = settings.drain_delay
        self._drain_timeout = settings.drain_timeout
        self._counted = SupervisorCount(state / "metrics")
        self._failed = False

    def serve(self) -> bool:
        """Run until a signal ends it; False where a worker could not start."""
        self.run()
        return not self._failed

    def init_processes(self) -> None:
        """One after another, unless told to stop meanwhile."""
        while len(self.processes) < self.processes_num and not self.signal_queue:
            self.processes.append(supervisor.Process(self.config, self.sockets))
            self.processes[-1].start()

    def keep_subprocess_alive(self) -> None:
        """Replace each worker that died or hangs; stop where a worker cannot start, as no other could."""
        for index, worker in enumerate(self.processes):
            assert isinstance(worker, Worker)
            if self.should_exit.is_set() or worker.is_alive():
                continue
            reason = worker.bury()
            if worker.exitcode == STARTUP_FAILURE:
                log.error("a worker failed to start; the service stops", pid=worker.pid)
                self._failed = True
                self.should_exit.set()
                return
            log.warning("a worker died, and is replaced", pid=worker.pid, reason=reason)
            self._counted.count(WORKER_DEATHS)
            self.processes[index] = Worker(self.config, self.sockets)
            self.processes[index].start()

    def handle_hup(self) -> None:
        """Have all workers read keys and certificates again."""
        log.info("SIGHUP: keys and certificates are read again")
        for worker in self.processes:
            if worker.pid and worker.exitcode is None:
                os.kill(worker.pid, signal.SIGHUP)

    def terminate_all(self) -> None:
        """They go on answering for the drain's delay, and a little longer; the port is closed with the last of them."""
        super().terminate_all()
        Event().wait(self._drain_delay)
        close_the_door(self.sockets)
        for each in self.sockets:
            each.close()

    def join_all(self) -> None:
        """A worker that hangs is not waited for longer than its requests may take."""
        end = monotonic() + self._drain_timeout + LONGER
        for process in self.processes:
            process.process.join(max(0.0, end - monotonic()))
            if process.exitcode is None:
                log.error("a worker did not end in its time, and was killed", pid=process.pid)
                process.process.kill()
        super().join_all()
