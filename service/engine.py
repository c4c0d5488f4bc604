"""A loaded model: rows in, answers out. The deterministic answer, and the spread of the thinned networks.

Everything here is a pure function of (model, rows, sampling): no state is changed by a call, so threads
may share an engine, and how the work is cut into runs changes no answer.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.costs import Cost, measure
from service.errors import InvalidInput
from service.manifest import Manifest, Work
from service.masks import PASSES_PER_BLOCK, MaskCache, passes_per_block
from service.runtime import Array, Graph
from service.sampling import Sampling
from service.stages import Stopwatch
from service.uncertainty import (
    Float64,
    Int64,
    Uncertainty,
    join_rows,
    softmax,
    summarise_classes,
    summarise_regression,
    take_rows,
)

Inputs = Mapping[str, Array]
"""One array (rows, …) an input of the model, as `service.inputs` checks them."""

Rows = NDArray[np.intp]
"""Numbers of rows."""

T = TypeVar("T")
Steps = Generator[float, None, T]
"""Work cut into short steps. Each `yield` tells about how many seconds the rest takes; a scheduler may
stop there, see to others, or go on in a thread."""

MULTIPLY_ADDS_PER_RUN = 2**28
"""A few milliseconds of one core: the longest that a run keeps others waiting."""
BYTES_PER_RUN = 2**26
"""Written by a run on its way: as much memory as it may need, and again a few milliseconds."""
VALUES_PER_PART = 2**18
"""Passes × rows × outputs that are summarised at a time."""
MAX_ROW_PASSES_PER_RUN = 4096
ROWS_TRIED = 256
"""At warm-up: enough to tell what one more costs, and few, as onnxruntime keeps the memory of the largest run."""


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
    passes: Int64
    """(rows,): how many networks were asked about each row."""
    stopped: tuple[str, ...]
    """Why no more were asked about each row: see `Sampling.stops`."""
    quantiles: Float64
    """(rows, quantiles, outputs): those asked for."""
    values: tuple[Float64, ...]
    """Each row's (passes, outputs), every network's probabilities or answers, where asked for; else none."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the rows of a question, all asked of as many networks."""

    rows: Rows
    uncertainty: Uncertainty
    passes: int
    stopped: str
    quantiles: Float64
    """(rows, quantiles, outputs)."""
    values: Float64 | None
    """(passes, rows, outputs), where they are to be kept."""


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
        self._row_passes_per_run = _row_passes_per_run(manifest, sample.size)
        self._row_cost = Cost()
        self._row_pass_cost = Cost()

    def predict(self, inputs: Inputs) -> Prediction:
        """One pass of the network without dropout; raises InvalidInput for rows that it has no finite answer to."""
        with _rows_named(np.arange(count_rows(inputs))):
            return Prediction(self._predicted(inputs))

    def predict_steps(self, inputs: Inputs, watch: Stopwatch) -> Steps[Prediction]:
        """`predict`, cut into short steps."""
        return (yield from self._answer_steps(inputs, self._predicted, self._row_cost, watch))

    def sample(self, inputs: Inputs, sampling: Sampling) -> Sampled:
        """Thinned networks, the same for every row; the seed alone says which."""
        return finish(self.sample_steps(inputs, sampling, Stopwatch()))

    def sample_steps(self, inputs: Inputs, sampling: Sampling, watch: Stopwatch) -> Steps[Sampled]:
        """`sample`, cut into short steps.

        The rows are cut first, the passes only when a single row's are too many: what comes before the
        first dropout is then computed once a row.
        """
        rows = count_rows(inputs)
        first_look = next(iter(sampling.looks()))
        yield self._row_cost.seconds(rows) + self._row_pass_cost.seconds(rows * first_look)
        watch.lap("queue")
        parts: list[Part] = []
        for some in _cut(rows, self._rows_per_part(sampling)):
            waiting = rows - int(some[-1]) - 1
            rest = self._row_cost.seconds(rows) + self._row_pass_cost.seconds(waiting * first_look)
            parts += yield from _and_then(self._sample_rows(inputs, some, sampling, watch), rest)
        deterministic = yield from self._deterministic_steps(inputs, sampling, watch)
        return _join(parts, deterministic)

    def draw_all(self, inputs: Inputs, sampling: Sampling) -> Array:
        """The raw output of every pass: (passes, rows, outputs), float32."""
        return finish(self.draw(inputs, sampling, 0, sampling.passes, Stopwatch()))

    def draw(self, inputs: Inputs, sampling: Sampling, start: int, stop: int, watch: Stopwatch) -> Steps[Array]:
        """The raw output of passes start … stop-1: (stop-start, rows, outputs), float32."""
        rows = count_rows(inputs)
        sites = sampling.sites(self.manifest)
        samples = np.empty((stop - start, rows, *self.manifest.output.shape), dtype=np.float32)
        longest = min(self._row_passes_per_run // rows, passes_per_block(sites))
        for first, last in _runs(start, stop, longest):
            masks = sampling.ablate(self._masks.masks(sampling.seed, sites, first, last))
            samples[first - start : last - start] = self._run_masked(inputs, masks)
            watch.lap("run")
            yield self._row_pass_cost.seconds(rows * (stop - last))
            watch.lap("queue")
        return samples

    def _predicted(self, inputs: Inputs) -> Float64:
        return self._values(self._predict.run(inputs), self.manifest.temperature)

    def sampled_values(self, raw: Array) -> Float64:
        """Raw outputs of thinned networks (passes, rows, outputs) → calibrated probabilities, or answers."""
        return self._values(raw, self.manifest.sampled_temperature or self.manifest.temperature)

    def _values(self, raw: Array, temperature: float) -> Float64:
        """Raw outputs (…, rows, outputs) → values; raises _NotFinite for a row whose outputs are not."""
        if not np.isfinite(raw).all():
            raise _NotFinite(int(np.argwhere(~np.isfinite(raw))[0, -2]))
        return softmax(raw, temperature) if self.manifest.task == "classification" else raw.astype(np.float64)

    def summarise(self, values: Float64) -> Uncertainty:
        """Values (passes, rows, outputs) → what the passes say of each row."""
        if self.manifest.task == "classification":
            return summarise_classes(values)
        return summarise_regression(values, self.manifest.noise.std if self.manifest.noise else 0.0)

    def warm_up(self) -> None:
        """Run both graphs a few times, so that the first caller need not wait, and learn what they cost."""
        per_run = self._row_passes_per_run
        passes, rows = min(32, per_run), min(ROWS_TRIED, per_run)
        self._row_cost = measure(lambda count: self.predict(self._zeros(count)), 1, rows)._replace(per_run=per_run)
        rows = max(1, rows // passes)
        cost = measure(lambda count: self.sample(self._zeros(count), Sampling(passes, seed=0)), 1, rows)
        self._row_pass_cost = Cost(cost.each / passes, cost.run, per_run)

    def _rows_per_part(self, sampling: Sampling) -> int:
        """As many rows as make runs of a good length, and samples that fit in the processor's cache."""
        by_run = self._row_passes_per_run // min(sampling.passes, PASSES_PER_BLOCK)
        return min(by_run, VALUES_PER_PART // (sampling.passes * self.manifest.output.shape[0]))

    def _sample_rows(self, inputs: Inputs, rows: Rows, sampling: Sampling, watch: Stopwatch) -> Steps[list[Part]]:
        """These rows, in parts of as many passes each."""
        parts: list[Part] = []
        drawn = np.empty((0, len(rows), *self.manifest.output.shape))  # (passes, rows, outputs)
        for look in sampling.looks():
            more = yield from self.draw(_take(inputs, rows), sampling, len(drawn), look, watch)
            with _rows_named(rows):
                drawn = np.concatenate([drawn, self.sampled_values(more)])
            stopped = sampling.stops(drawn)
            for reason in np.unique(stopped[stopped != ""]):
                here = stopped == reason
                parts.append(self._part(rows[here], drawn[:, here], sampling, str(reason)))
            rows, drawn = rows[stopped == ""], drawn[:, stopped == ""]
            watch.lap("summarise")
            if not len(rows):
                break
        return parts

    def _part(self, rows: Rows, values: Float64, sampling: Sampling, stopped: str) -> Part:
        _, count, outputs = values.shape
        quantiles = np.empty((count, 0, outputs))  # numpy sorts all values for none, too
        if sampling.quantiles:
            quantiles = np.quantile(values, sampling.quantiles, axis=0).swapaxes(0, 1)  # (rows, quantiles, outputs)
        kept = values if sampling.keep_samples else None
        return Part(rows, self.summarise(values), len(values), stopped, quantiles, kept)

    def _deterministic_steps(self, inputs: Inputs, sampling: Sampling, watch: Stopwatch) -> Steps[Prediction]:
        """The deterministic answer: of the network as it is, or of what the ablations leave of it."""
        if not sampling.ablations:
            return (yield from self.predict_steps(inputs, watch))
        keep_all = [np.ones((1, 1, *site.shape), dtype=np.float32) for site in self.manifest.sites]
        masks = sampling.ablate(keep_all)

        def ablated(some: Inputs) -> Float64:
            return self._values(self._run_masked(some, masks)[0], self.manifest.temperature)

        return (yield from self._answer_steps(inputs, ablated, self._row_pass_cost, watch))

    def _answer_steps(
        self, inputs: Inputs, answer: Callable[[Inputs], Float64], cost: Cost, watch: Stopwatch
    ) -> Steps[Prediction]:
        """The answers to all rows, a piece of them at a time."""
        rows = count_rows(inputs)
        parts: list[Float64] = []
        for some in _cut(rows, self._row_passes_per_run):
            yield cost.seconds(rows - int(some[0]))
            watch.lap("queue")
            with _rows_named(some):
                parts.append(answer(_take(inputs, some)))
            watch.lap("run")
        return Prediction(np.concatenate(parts))

    def _zeros(self, rows: int) -> Inputs:
        return {spec.name: np.zeros((rows, *spec.shape), dtype=spec.dtype) for spec in self.manifest.inputs}

    def _run_masked(self, inputs: Inputs, masks: Sequence[Array]) -> Array:
        return self._sample.run({**inputs, **dict(zip(self._mask_names, masks, strict=True))})


def finish(steps: Steps[T]) -> T:
    """Take all the steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def _and_then(steps: Steps[T], rest: float) -> Steps[T]:
    """The steps, after which so many seconds of work will be left."""
    while True:
        try:
            remaining = next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        yield remaining + rest


def count_rows(inputs: Inputs) -> int:
    """How many rows were sent."""
    return len(next(iter(inputs.values())))


class _NotFinite(ArithmeticError):
    """A row that the network has no finite answer to; which one it is in the request is known further out."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


@contextmanager
def _rows_named(rows: Rows) -> Iterator[None]:
    """Refuse, by its number in the request, a row that the network has no finite answer to."""
    try:
        yield
    except _NotFinite as error:
        row = int(rows[error.row])
        message = f"inputs[{row}]: the network's answer is not a finite number; such values are beyond it"
        raise InvalidInput(message, field=f"inputs[{row}]", row=row) from None


def _join(parts: Sequence[Part], deterministic: Prediction) -> Sampled:
    """The parts, back in the order of the rows."""
    order = np.argsort(np.concatenate([part.rows for part in parts]))
    uncertainties: list[Any] = [part.uncertainty for part in parts]
    joined = join_rows(uncertainties)
    stopped = [part.stopped for part in parts for _ in part.rows]
    values = [part.values[:, i] for part in parts if part.values is not None for i in range(len(part.rows))]
    return Sampled(
        uncertainty=joined if len(parts) == 1 else take_rows(joined, order),
        deterministic=deterministic,
        passes=np.repeat([part.passes for part in parts], [len(part.rows) for part in parts])[order],
        stopped=tuple(stopped[i] for i in order),
        quantiles=np.concatenate([part.quantiles for part in parts])[order],
        values=tuple(values[i] for i in order) if values else (),
    )


def _take(inputs: Inputs, rows: Rows) -> Inputs:
    """These rows; all of them cost nothing."""
    if len(rows) == count_rows(inputs):
        return inputs
    return {name: array[rows] for name, array in inputs.items()}


def _cut(rows: int, longest: int) -> Iterator[Rows]:
    """The numbers of the rows, in pieces."""
    longest = max(1, longest)
    for first in range(0, rows, longest):
        yield np.arange(first, min(first + longest, rows))


def _runs(start: int, stop: int, longest: int) -> Iterator[tuple[int, int]]:
    """Cut passes at multiples of a power of two, so that no run straddles a block of masks."""
    step = 1 << (max(1, longest).bit_length() - 1)
    while start < stop:
        end = min(stop, start - start % step + step)
        yield start, end
        start = end


def _row_passes_per_run(manifest: Manifest, graph_bytes: int) -> int:
    """How many rows × passes make a run.

    By what the graph computes and not by a measured time, so that the cuts are the same on every machine: some
    operators round otherwise for one row than for many. Where the manifest does not tell, the graph's size
    stands for its multiply-adds, 4 bytes a weight.
    """
    work = manifest.work or Work(multiply_adds=max(1, graph_bytes // 4), bytes=1)
    longest = min(MULTIPLY_ADDS_PER_RUN // work.multiply_adds, BYTES_PER_RUN // work.bytes, MAX_ROW_PASSES_PER_RUN)
    return max(1, longest)
