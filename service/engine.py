"""A loaded model: rows in, answers out. The deterministic answer, and the spread of the thinned networks.

Everything here is a pure function of (model, rows, passes, seed): no state is changed by a call, so
threads may share an engine, and how the work is cut into runs changes no answer.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from service.manifest import Manifest
from service.masks import PASSES_PER_BLOCK, MaskCache
from service.runtime import Array, Graph
from service.uncertainty import (
    Float64,
    Uncertainty,
    join_rows,
    softmax,
    summarise_classes,
    summarise_regression,
)

Inputs = Mapping[str, Array]
"""One array (rows, …) an input of the model, as `service.inputs` makes and checks them."""

T = TypeVar("T")
Steps = Generator[float, None, T]
"""Work cut into short steps. Each `yield` tells about how many seconds the rest takes; a scheduler may
stop there, see to others, or go on in a thread."""

MULTIPLY_ADDS_PER_RUN = 2**28
"""A few milliseconds of one core: the longest that a run keeps others waiting."""
MAX_ROW_PASSES_PER_RUN = 4096


@dataclass(frozen=True, slots=True)
class Prediction:
    """The deterministic answer, dropout gone."""

    values: Float64
    """(rows, outputs): calibrated probabilities of the classes, or a regression's answers."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """The answer of an ensemble of thinned networks, with the deterministic one beside it."""

    uncertainty: Uncertainty
    deterministic: Prediction
    passes: int
    seed: int


class Engine:
    """A model ready to answer."""

    def __init__(self, manifest: Manifest, predict: Graph, sample: Graph, masks: MaskCache) -> None:
        self.manifest = manifest
        self.examples: Inputs = {}
        """A few real rows, once the golden answers were replayed; for documentation and demonstration."""
        self._predict = predict
        self._sample = sample
        self._masks = masks
        self._mask_names = [f"mask_{i}" for i in range(len(manifest.sites))]
        self._row_passes_per_run = _row_passes_per_run(sample.size)
        self._seconds_per_row = 0.0
        self._seconds_per_row_pass = 0.0

    def predict(self, inputs: Inputs) -> Prediction:
        """One pass of the network without dropout."""
        raw = self._predict.run(inputs)  # (rows, outputs)
        if self.manifest.task == "classification":
            return Prediction(softmax(raw, self.manifest.temperature))
        return Prediction(raw.astype(np.float64))

    def predict_steps(self, inputs: Inputs) -> Steps[Prediction]:
        """`predict`, cut into short steps."""
        rows = _count_rows(inputs)
        parts: list[Float64] = []
        for first in range(0, rows, self._row_passes_per_run):
            yield self._seconds_per_row * (rows - first)
            parts.append(self.predict(_slice(inputs, first, first + self._row_passes_per_run)).values)
        return Prediction(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def sample(self, inputs: Inputs, passes: int, seed: int) -> Sampled:
        """`passes` thinned networks, the same for every row; the seed alone says which."""
        return finish(self.sample_steps(inputs, passes, seed))

    def sample_steps(self, inputs: Inputs, passes: int, seed: int) -> Steps[Sampled]:
        """`sample`, cut into short steps.

        The rows are cut first, the passes only when a single row's are too many: what comes before the
        first dropout is then computed once a row, and no more than a few rows' samples are in memory.
        """
        rows = _count_rows(inputs)
        yield rows * (self._seconds_per_row + passes * self._seconds_per_row_pass)
        rows_per_run = max(1, self._row_passes_per_run // min(passes, PASSES_PER_BLOCK))
        parts: list[Any] = []
        for first in range(0, rows, rows_per_run):
            samples = yield from self.draw(_slice(inputs, first, first + rows_per_run), passes, seed)
            parts.append(self.summarise(samples))
        deterministic = yield from self.predict_steps(inputs)
        return Sampled(join_rows(parts), deterministic, passes, seed)

    def draw(self, inputs: Inputs, passes: int, seed: int) -> Steps[Array]:
        """The raw output of every pass: (passes, rows, outputs), float32."""
        rows = _count_rows(inputs)
        samples = np.empty((passes, rows, *self.manifest.output.shape), dtype=np.float32)
        for start, stop in _runs(passes, max(1, self._row_passes_per_run // rows)):
            masks = self._masks.masks(seed, self.manifest.sites, start, stop)
            samples[start:stop] = self._sample.run({**inputs, **dict(zip(self._mask_names, masks, strict=True))})
            yield self._seconds_per_row_pass * rows * (passes - stop)
        return samples

    def summarise(self, samples: Array) -> Uncertainty:
        """(passes, rows, outputs) → what the passes say of each row."""
        if self.manifest.task == "classification":
            return summarise_classes(samples, self.manifest.temperature)
        return summarise_regression(samples, self.manifest.noise.std if self.manifest.noise else 0.0)

    def warm_up(self) -> None:
        """Run both graphs a few times, so that the first caller need not wait, and learn what they cost."""
        inputs = {spec.name: np.zeros((1, *spec.shape), dtype=spec.dtype) for spec in self.manifest.inputs}
        passes = min(32, self._row_passes_per_run)
        self._seconds_per_row = _seconds(lambda: self.predict(inputs))
        self._seconds_per_row_pass = _seconds(lambda: self.sample(inputs, passes, seed=0)) / passes


def finish(steps: Steps[T]) -> T:
    """Take all the steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def _count_rows(inputs: Inputs) -> int:
    return len(next(iter(inputs.values())))


def _slice(inputs: Inputs, first: int, last: int) -> Inputs:
    return {name: array[first:last] for name, array in inputs.items()}


def _runs(passes: int, longest: int) -> Iterator[tuple[int, int]]:
    """Cut passes into runs of a power of two, so that none straddles a block of masks."""
    step = min(PASSES_PER_BLOCK, 1 << (longest.bit_length() - 1))
    for start in range(0, passes, step):
        yield start, min(start + step, passes)


def _row_passes_per_run(graph_bytes: int) -> int:
    """How many rows × passes make a run; a graph's size stands for its multiply-adds, 4 bytes a weight.

    From the size and not from a measured time, so that the cuts are the same on every machine.
    """
    weights = max(1, graph_bytes // 4)
    return max(1, min(MAX_ROW_PASSES_PER_RUN, MULTIPLY_ADDS_PER_RUN // weights))


def _seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The shortest of a few runs; the first, which allocates, is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return min(times)
