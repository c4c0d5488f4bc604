"""Separate processors for the load generator and the service."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def halves() -> tuple[set[int], set[int]]:
    """Return both halves of this process's processors; all of them twice where there is one, or no way to choose."""
    usable = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    middle = len(usable) // 2
    return (set(usable[:middle]), set(usable[middle:])) if middle else (set(usable), set(usable))


@contextmanager
def only_on(processors: set[int]) -> Iterator[None]:
    """Restrict this thread, and threads and processes that it starts in the block, to these processors."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
