"""CPU time and memory of a process and its descendants, from Linux's /proc."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PARENT, USER_TICKS, REAPED_SYSTEM_TICKS = 1, 11, 14
"""Columns of /proc/<pid>/stat after the name (proc(5)), from 0; the ticks are adjacent."""
GONE = (FileNotFoundError, ProcessLookupError)
"""Errors of a process that has ended."""


def descendants(root: int) -> list[int]:
    """Return the process itself, its children, their children, and so on."""
    parents = {pid: int(stat[PARENT]) for pid in _all() if (stat := _stat(pid))}
    tree = [root]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    return tree


def is_running(pid: int) -> bool:
    """Return whether the process has not ended; a zombie has."""
    return _stat(pid)[:1] not in ([], ["Z"])


def cpu_seconds(root: int) -> float:
    """Return the CPU seconds of the tree, in user and kernel mode, including children that have ended."""
    stats = [stat for pid in descendants(root) if (stat := _stat(pid))]
    ticks = sum(int(field) for stat in stats for field in stat[USER_TICKS : REAPED_SYSTEM_TICKS + 1])
    return ticks / TICKS_PER_SECOND


def machine_cpu_seconds() -> float:
    """Return the CPU seconds of all processes of this machine, and those taken by its host."""
    fields = (PROC / "stat").read_text().split(maxsplit=9)[1:9]  # the line of all cores together
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(int, fields)
    return (user + nice + system + interrupts + soft_interrupts + stolen) / TICKS_PER_SECOND


def memory_bytes(root: int) -> int:
    """Return the proportional set size: each page divided by the number of processes that share it."""
    return sum(_proportional(pid) for pid in descendants(root))


def _proportional(pid: int) -> int:
    with suppress(*GONE):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _all() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())


def _stat(pid: int) -> list[str]:
    """Return the columns after the name, which may contain blanks; none if the process has ended."""
    with suppress(*GONE):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return []
