"""Processors for those who ask, and others for those who answer: one machine must not slow the service by asking it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def halves() -> tuple[set[int], set[int]]:
    """Of the processors that this process may use; both are all of them where there is but one, or no way to choose."""
    usable = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    middle = len(usable) // 2
    return (set(usable[:middle]), set(usable[middle:])) if middle else (set(usable), set(usable))


@contextmanager
def only_on(processors: set[int]) -> Iterator[None]:
    """This thread, and all threads and processes that it starts in the block, for as long as they live."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
