"""Several processes as one service: what each counted lies in a file that the others read.

A worker claims the lowest free number with a file lock, which the kernel frees however the worker ends. Its
successor claims the number again and counts on from there, so that no counter ever falls.
"""

import fcntl
import os
from itertools import count
from pathlib import Path

import msgspec

from service.telemetry.metrics import WORKER_DEATHS, Family, Key, Numbers, keep_counted

_decoder = msgspec.msgpack.Decoder(list[tuple[Key, list[float]]])


class Slot:
    """A worker's number, and the numbers of all workers."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.number, self._lock = _claim(folder)
        self._file = folder / f"{self.number}.counted"
        self.inherited = keep_counted(_read(self._file))
        """What its predecessor counted."""

    def write(self, numbers: Numbers) -> None:
        """Let the others know; they see the old numbers or the new ones, never half of each."""
        _write(self._file, numbers)

    def read_others(self) -> list[Numbers]:
        """What the other workers last wrote."""
        return [_read(file) for file in sorted(self._folder.glob("*.counted")) if file != self._file]

    def close(self, numbers: Numbers) -> None:
        """Leave what was counted; what was only so for the moment is no longer."""
        self.write(keep_counted(numbers))
        os.close(self._lock)


class SupervisorCount:
    """What is counted of the workers by the process that keeps them, for the workers to show with their own numbers."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "supervisor.counted"
        self._numbers: Numbers = {(WORKER_DEATHS.name,): [0.0]}
        _write(self._file, self._numbers)

    def count(self, family: Family) -> None:
        """A counter without labels rises."""
        self._numbers[(family.name,)][0] += 1
        _write(self._file, self._numbers)


def _write(file: Path, numbers: Numbers) -> None:
    beside = file.with_suffix(".new")
    beside.write_bytes(msgspec.msgpack.encode(list(numbers.items())))
    beside.replace(file)


def _claim(folder: Path) -> tuple[int, int]:
    """The lowest number that no living worker has, and the lock that says so."""
    for number in count():
        lock = os.open(folder / f"{number}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return number, lock
    raise AssertionError("numbers do not end")


def _read(file: Path) -> Numbers:
    try:
        return dict(_decoder.decode(file.read_bytes()))
    except FileNotFoundError:
        return {}
