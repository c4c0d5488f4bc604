"""How work is cut into runs of a graph and parts of an answer; the cuts change no answer.

They follow from what the graph computes and never from a measured time, so that they are the same on every machine:
some operators round otherwise for one row than for many.
"""

from collections.abc import Iterator

from service.engine.masks import LEAD, PASSES_PER_BLOCK
from service.model.manifest import Manifest, Work

MULTIPLY_ADDS_PER_RUN = 2**30
"""Some ten milliseconds of one core: the longest that a run keeps others waiting. Shorter ones stream the weights of a
large layer from memory more often than they need: at 2**28 a network 1024 wide took a quarter more time.
"""
BYTES_PER_RUN = 2**26
"""Written by a run on its way: as much memory as it may need, and again a few milliseconds."""
VALUES_PER_PART = 2**18
"""Passes × rows × outputs that are drawn before they are summarised."""
VALUES_PER_SUMMARY = 2**14
"""Passes × rows × outputs that are summarised at a time: 128 kB stay in the processor's cache, and larger
arrays come fresh from the system at each step of a formula, which took longer than the formula.
"""
MAX_ROW_PASSES_PER_RUN = 2048


def row_passes_per_run(manifest: Manifest, graph_bytes: int) -> int:
    """How many rows × passes make a run.

    Where the manifest does not tell what a row costs, the graph's size stands for its multiply-adds, 4 bytes a weight.
    """
    work = manifest.work or Work(multiply_adds=max(1, graph_bytes // 4), bytes=1)
    longest = min(MULTIPLY_ADDS_PER_RUN // work.multiply_adds, BYTES_PER_RUN // work.bytes, MAX_ROW_PASSES_PER_RUN)
    return max(1, longest)


def rows_per_part(passes: int, manifest: Manifest, row_passes: int) -> int:
    """As many rows as make runs of a good length, and not too many samples to keep."""
    by_run = row_passes // (1 + min(passes, PASSES_PER_BLOCK))  # the leading pass goes with them
    return max(1, min(by_run, VALUES_PER_PART // (passes * manifest.output.shape[0])))


def rows_per_summary(passes: int, manifest: Manifest) -> int:
    """As many rows as are summarised at a time."""
    return max(1, VALUES_PER_SUMMARY // (passes * manifest.output.shape[0]))


def cut_rows(rows: int, longest: int) -> Iterator[slice]:
    """Rows in pieces."""
    for first in range(0, rows, longest):
        yield slice(first, min(first + longest, rows))


def cut_passes(start: int, stop: int, longest: int, block: int) -> Iterator[tuple[int, int]]:
    """Passes in runs, none of which straddles a block of masks. LEAD goes with the first run if there is room."""
    if start == LEAD and longest < 2:
        yield LEAD, 0
        start = 0
    while start < stop:
        first = max(start, 0)
        end = min(stop, start + max(1, longest), first - first % block + block)
        yield start, end
        start = end
