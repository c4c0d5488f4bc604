"""Time the matrix products of a row's samples: `python -m benchmarks.serving.products FOLDER`.

They bound the time of sampling: the first layer once a row, and each later layer, which dropout precedes, as one
product over all rows and samples. There are no masks, biases, activations or summaries. onnxruntime runs them with one
thread.
"""

import json
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import onnxruntime

from benchmarks.serving.subjects import PASSES

ONCE_A_ROW, ONCE_A_SAMPLE = "once_a_row.onnx", "once_a_sample.onnx"
ROWS = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of rows that share a run."""
SECONDS = 0.2
"""Seconds of each measurement."""


def main(folder: Path) -> None:
    """Print the seconds a row, by rows in a run."""
    first, later = Products(folder / ONCE_A_ROW), Products(folder / ONCE_A_SAMPLE)
    print(json.dumps({rows: (first.seconds(rows) + later.seconds(PASSES * rows)) / rows for rows in ROWS}))  # noqa: T201 - the result


class Products:
    """A graph of matrix products in sequence."""

    def __init__(self, graph: Path) -> None:
        """Open the graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0]

    def seconds(self, rows: int) -> float:
        """Return the median seconds of a run."""
        feeds = {self._input.name: np.ones((rows, self._input.shape[1]), dtype=np.float32)}
        self._session.run(None, feeds)
        times: list[float] = []
        while sum(times) < SECONDS:
            start = perf_counter()
            self._session.run(None, feeds)
            times.append(perf_counter() - start)
        return median(times)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
