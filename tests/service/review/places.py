"""Stores that are really there, and can go away and come back."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.conftest import wait_until

KINDS = ("parquet", "sqlite", "postgresql")


class Place:
    """A folder of the file system, in which a folder of Parquet files or a database of SQLite is."""

    def __init__(self, folder: Path, where: str) -> None:
        self.where = where
        self._folder, self._elsewhere = folder, folder.with_name("elsewhere")
        folder.mkdir()

    def go_away(self) -> None:
        self._folder.rename(self._elsewhere)
        self._folder.write_text("something else is mounted here")

    def come_back(self) -> None:
        self._folder.unlink()
        self._elsewhere.rename(self._folder)


@dataclass
class Postgres:
    """A server of its own, as a user who is not root: it refuses to be run by him."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    databases: int = 0

    def start(self) -> None:
        options = ["-p", str(self.port), "-k", str(self.folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [binary("postgres"), "-D", str(self.folder / "data"), *options], stderr=log, stdout=log, user=user()
            )
        wait_until(self._answers)

    def stop(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGINT)  # the fast shutdown, which ends all sessions
        self.process.wait(30)

    go_away, come_back = stop, start

    def kill(self) -> None:
        """All its processes at once, as where the machine is lost."""
        assert self.process
        self.signal(signal.SIGKILL)
        self.process.wait(30)

    def signal(self, shown: signal.Signals) -> None:
        """To the sessions that the server has, and to itself, which stands still meanwhile and starts no others."""
        assert self.process
        pid = self.process.pid
        self.process.send_signal(signal.SIGSTOP)
        for session in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(session), shown)
        self.process.send_signal(shown)

    @property
    def where(self) -> str:
        return f"postgresql://{account()}@127.0.0.1:{self.port}/test{self.databases}"

    def make_database(self) -> None:
        self.databases += 1
        with psycopg.connect(self._of("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE test{self.databases}")

    def _of(self, database: str) -> str:
        return f"postgresql://{account()}@127.0.0.1:{self.port}/{database}"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._of("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """In a folder of its own below the system's, which that user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="dropserve-postgres-"))
    if os.getuid() == 0:
        shutil.chown(folder, account())
    command = [binary("initdb"), "-D", str(folder / "data"), "-U", account(), "--auth=trust", "--no-sync"]
    subprocess.run(command, check=True, capture_output=True, user=user(), cwd=folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Postgres(folder, free.getsockname()[1])
    try:
        server.start()
        yield server
    finally:
        if server.process and server.process.poll() is None:
            server.stop()
        shutil.rmtree(folder)


def why_not_postgres() -> str | None:
    """Why there can be no server here."""
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        return "postgres and initdb are not on the PATH"
    return None


def binary(name: str) -> str:
    found = shutil.which(name)
    assert found
    return found


def user() -> str | None:
    """Whom the server runs as: this user, unless he is root."""
    return account() if os.getuid() == 0 else None


def account() -> str:
    if os.getuid():
        return pwd.getpwuid(os.getuid()).pw_name
    known = {each.pw_name for each in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
