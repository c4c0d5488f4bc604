"""Record the memory of a service's processes over time, and test whether it grows."""

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from scipy import stats

RESIDENT = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)
INTERVAL = 0.25
WARM_UP = 0.25
"""The share of the samples that is skipped, while allocators and caches fill."""
BLOCKS = 16
CONFIDENCE = 0.95
SHOWN = 120
MINUTES_AN_HOUR, ADDED = 60, 0.1
FLAT = "memory is flat: an hour at its slope, at the upper bound of it, would add less than a tenth"

Samples = list[tuple[float, float]]
"""(seconds on the monotonic clock, MB of all processes together)."""


@contextmanager
def watched(processes: Callable[[], Iterable[int]]) -> Iterator[Samples]:
    """Take samples while the block runs."""
    samples: Samples = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(INTERVAL):
            samples.append((monotonic(), sum(map(resident_mb, processes()))))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def resident_mb(process: int) -> float:
    """Return the resident memory of a process; 0 for one that has ended."""
    try:
        found = RESIDENT.search(Path(f"/proc/{process}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def growth(samples: Samples) -> dict[str, Any]:
    """Return the slope in MB/minute with its 95 % confidence bounds, and the memory at both ends.

    Least squares over the means of 16 blocks, as successive samples are correlated, which would make the bounds too
    narrow. Student's t with 14 degrees of freedom.
    """
    taken = np.array(samples[int(len(samples) * WARM_UP) :])  # (samples, 2)
    count = min(BLOCKS, len(taken))  # a busy machine may give fewer samples
    blocks = np.array([block.mean(axis=0) for block in np.array_split(taken, count)])  # (blocks, 2)
    line = stats.linregress(blocks[:, 0] / 60, blocks[:, 1])
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 2) * line.stderr)
    slope = float(line.slope)
    return {
        "mb_per_minute": slope,
        "low": slope - reach,
        "high": slope + reach,
        "first_mb": float(blocks[0, 1]),
        "last_mb": float(blocks[-1, 1]),
        "seconds": float(taken[-1, 0] - taken[0, 0]),
    }


def over_time(samples: Samples) -> list[dict[str, float]]:
    """Return some of the samples for a picture; seconds from the first."""
    some = samples[:: 1 + len(samples) // SHOWN]
    return [{"seconds": at - samples[0][0], "mb": mb} for at, mb in some]


def is_flat(found: dict[str, Any]) -> bool:
    """Return whether an hour at the upper bound of the slope adds less than a tenth; a short series is not
    conclusive.
    """
    return bool(found["high"] * MINUTES_AN_HOUR < ADDED * found["first_mb"])
