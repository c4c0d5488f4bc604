"""Share counters between the workers of one service, through one file per worker.

A worker claims the lowest free number with a file lock, which the kernel releases however the worker ends. Its
successor claims the number again and continues its counters, so that no counter ever falls.
"""

import fcntl
import os
from itertools import count
from pathlib import Path

import msgspec

from service.telemetry.metrics import WORKER_DEATHS, Family, Key, Numbers, keep_counted

_decoder = msgspec.msgpack.Decoder(list[tuple[Key, list[float]]])


class Slot:
    """A worker's number and file of counters."""

    def __init__(self, folder: Path) -> None:
        """Claim a number in the shared folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.number, self._lock = _claim(folder)
        self._file = folder / f"{self.number}.counted"
        self.inherited = keep_counted(_read(self._file))
        """The counters of its predecessor."""

    def write(self, numbers: Numbers) -> None:
        """Write the numbers for the other workers, atomically."""
        _write(self._file, numbers)

    def read_others(self) -> list[Numbers]:
        """Return the numbers last written by the other workers."""
        return [_read(file) for file in sorted(self._folder.glob("*.counted")) if file != self._file]

    def close(self, numbers: Numbers) -> None:
        """Leave the counters to a successor, without gauges, and release the number."""
        self.write(keep_counted(numbers))
        os.close(self._lock)


class SupervisorCount:
    """The supervisor's counters of its workers, which they expose with their own numbers."""

    def __init__(self, folder: Path) -> None:
        """Write the counters to the shared folder, from 0."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "supervisor.counted"
        self._numbers: Numbers = {(WORKER_DEATHS.name,): [0.0]}
        _write(self._file, self._numbers)

    def count(self, family: Family) -> None:
        """Increase a counter without labels."""
        self._numbers[(family.name,)][0] += 1
        _write(self._file, self._numbers)


def _write(file: Path, numbers: Numbers) -> None:
    beside = file.with_suffix(".new")
    beside.write_bytes(msgspec.msgpack.encode(list(numbers.items())))
    beside.replace(file)


def _claim(folder: Path) -> tuple[int, int]:
    """Claim the lowest free number, and return it with the descriptor of its lock."""
    for number in count():
        lock = os.open(folder / f"{number}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return number, lock
    raise AssertionError("unreachable")


def _read(file: Path) -> Numbers:
    try:
        return dict(_decoder.decode(file.read_bytes()))
    except FileNotFoundError:
        return {}
