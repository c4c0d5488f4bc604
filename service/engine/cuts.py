"""Cut work into runs of a graph and parts of an answer, without a change of any answer.

Cuts depend on the graph's computation and never on a measured time, so that they are the same on every machine: some
operators round differently for one row than for many.
"""

from service.engine.masks import DETERMINISTIC, PASSES_PER_BLOCK
from service.model.manifest import Manifest, Work

MULTIPLY_ADDS_PER_RUN = 2**30
"""About ten milliseconds of one core, for which a run delays other work. Shorter runs read the weights of large layers
from memory too often: at 2**28 a network 1024 wide took a quarter longer."""
BYTES_PER_RUN = 2**26
"""Bytes of a run's intermediate results, which bound its memory, and again take a few milliseconds."""
VALUES_PER_PART = 2**18
"""Passes × rows × outputs that are drawn before they are summarised."""
VALUES_PER_SUMMARY = 2**15
"""Passes × rows × outputs that are summarised at a time: arrays of 256 kB, which fit into the processor's cache. Fewer
values mean more calls of numpy, and more than these gained nothing."""
MAX_ROW_PASSES_PER_RUN = 2048
MAX_ROWS_PER_RUN = 256
"""More rows gain nothing, and remote workers share whole runs."""


def row_passes_per_run(manifest: Manifest, graph_bytes: int) -> int:
    """Return the number of rows × passes of a run of sample.onnx, without `work` estimated at 4 bytes a weight."""
    return _per_run(manifest.work or _estimate(graph_bytes), MAX_ROW_PASSES_PER_RUN)


def rows_per_run(manifest: Manifest, graph_bytes: int) -> int:
    """Return the number of rows of a run of predict.onnx, whose work is that of sample.onnx if unknown."""
    return _per_run(manifest.predict_work or manifest.work or _estimate(graph_bytes), MAX_ROWS_PER_RUN)


def _estimate(graph_bytes: int) -> Work:
    return Work(multiply_adds=max(1, graph_bytes // 4), bytes=1)


def _per_run(work: Work, most: int) -> int:
    return max(1, min(MULTIPLY_ADDS_PER_RUN // work.multiply_adds, BYTES_PER_RUN // work.bytes, most))


def rows_per_part(passes: int, manifest: Manifest, row_passes: int) -> int:
    """Return the number of rows of a part, for full runs and a bounded number of samples in memory."""
    by_run = row_passes // (1 + min(passes, PASSES_PER_BLOCK))  # the deterministic pass runs with them
    return max(1, min(by_run, VALUES_PER_PART // (passes * manifest.output.shape[0])))


def rows_per_summary(passes: int, manifest: Manifest) -> int:
    """Return the number of rows to summarise at a time."""
    return max(1, VALUES_PER_SUMMARY // (passes * manifest.output.shape[0]))


def cut_rows(rows: int, longest: int) -> list[slice]:
    """Return slices of at most `longest` rows."""
    if rows <= longest:
        return [slice(0, rows)]
    return [slice(first, min(first + longest, rows)) for first in range(0, rows, longest)]


def cut_passes(start: int, stop: int, longest: int, block: int) -> list[tuple[int, int]]:
    """Return (start, stop) of runs of passes, none across two blocks of masks.

    DETERMINISTIC joins the first run if it fits.
    """
    runs = []
    if start == DETERMINISTIC and longest < 2:
        runs.append((DETERMINISTIC, 0))
        start = 0
    while start < stop:
        first = max(start, 0)
        end = min(stop, start + max(1, longest), first - first % block + block)
        runs.append((start, end))
        start = end
    return runs
