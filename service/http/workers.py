"""Several processes that serve, and the supervisor that keeps them: uvicorn's, which is never kept waiting by one."""

import socket
from threading import Event
from time import monotonic

import structlog
import uvicorn
import uvicorn.supervisors.multiprocess as supervisor

from service.http.draining import close_the_door

SILENCE = 30
"""Seconds that a worker may owe its supervisor a word, from its start on. uvicorn's 5 are less than a start may take
on a busy machine: it killed workers before they served."""
LONGER = 5.0
"""Seconds that a worker may take to end, beyond those that its requests are given."""

log = structlog.get_logger(__name__)


class Worker(supervisor.Process):
    """A process that serves, seen from its supervisor."""

    _asked: float | None = None
    """When it was asked for a word that it owes still."""

    def start(self) -> None:
        """The worker's end of the pipe is its own only, so that the pipe ends with it."""
        super().start()
        self.child_conn.close()

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


class Workers(supervisor.Multiprocess):
    """uvicorn's supervisor, which lets go of the port when it is told to stop: it would keep it until all workers have
    ended, and callers would wait at a port where nobody answers any more.
    """

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], drain_delay: float, drain_timeout: float
    ) -> None:
        super().__init__(config, sockets)
        supervisor.Process = Worker  # type: ignore[misc]  # of which it makes its processes, and has no way to be told
        self._drain_delay = drain_delay
        self._drain_timeout = drain_timeout

    def init_processes(self) -> None:
        """One after another, unless told to stop meanwhile."""
        while len(self.processes) < self.processes_num and not self.signal_queue:
            self.processes.append(supervisor.Process(self.config, self.sockets))
            self.processes[-1].start()

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
