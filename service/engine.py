"""A loaded model: rows in, answers out. The deterministic answer, and the spread of the thinned networks.

Everything here is a pure function of (model, rows, sampling): no state is changed by a call, so threads
may share an engine, and how the work is cut into runs changes no answer.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from service.answers import Part, Prediction, Rows, Sampled, join
from service.costs import Cost, measure
from service.cuts import cut_passes, cut_rows, row_passes_per_run, rows_per_part, rows_per_summary
from service.errors import InvalidInput
from service.manifest import Manifest
from service.masks import MaskCache, passes_per_block
from service.runtime import Array, Graph
from service.sampling import Sampling
from service.stages import Stopwatch
from service.steps import Inputs, OwnSteps, Question, Steps, and_then, count_rows, finish
from service.uncertainty import Float64, Uncertainty, softmax, summarise_classes, summarise_regression

Given = TypeVar("Given")

SHARED_SECONDS = 0.001
"""Work that takes longer gains little from being done together with others'."""
ROWS_TRIED = 256
"""At warm-up: enough to tell what one more costs, and few, as onnxruntime keeps the memory of the largest run."""


class Engine:
    """A model ready to answer."""

    def __init__(self, manifest: Manifest, predict: Graph, sample: Graph, masks: MaskCache) -> None:
        self.manifest = manifest
        self.examples: Inputs = {}
        """A few real rows, once the golden answers were replayed; for documentation and demonstration."""
        self.rows_are_independent = False
        """Whether a row's answer was, to the last bit, the same alone and among others; see `warm_up`."""
        self._predict = predict
        self._sample = sample
        self._masks = masks
        self._mask_names = [f"mask_{i}" for i in range(len(manifest.sites))]
        self._row_passes_per_run = row_passes_per_run(manifest, sample.size)
        self._row_cost = Cost()
        self._row_pass_cost = Cost()

    def predict(self, inputs: Inputs) -> Prediction:
        """One pass of the network without dropout; raises InvalidInput for rows that it has no finite answer to."""
        return self._predict_watched(inputs, Stopwatch())

    def predict_steps(self, inputs: Inputs, watch: Stopwatch) -> Steps[Prediction]:
        """`predict`, cut into short steps, or shared with others where it is short."""
        if self._may_share(self._row_cost, count_rows(inputs)):
            shared: Prediction = yield Question(self, inputs, self._predict_watched, watch, self._row_cost)
            return shared
        return (yield from self._answer_steps(inputs, self._predicted, self._row_cost, watch))

    def sample(self, inputs: Inputs, sampling: Sampling) -> Sampled:
        """Thinned networks, the same for every row; the seed alone says which."""
        return self._sample_watched(inputs, Stopwatch(), sampling)

    def sample_steps(self, inputs: Inputs, sampling: Sampling, watch: Stopwatch) -> Steps[Sampled]:
        """`sample`, cut into short steps, or shared with others where it is short."""
        passes = self._row_pass_cost
        cost = Cost(passes.each * sampling.passes + self._row_cost.each, passes.run + self._row_cost.run)
        if self._may_share(cost, count_rows(inputs)):
            ask = partial(self._sample_watched, sampling=sampling)
            shared: Sampled = yield Question((self, sampling), inputs, ask, watch, cost)
            return shared
        return (yield from self._sample_steps(inputs, sampling, watch))

    def draw_all(self, inputs: Inputs, sampling: Sampling) -> Array:
        """The raw output of every pass: (passes, rows, outputs), float32."""
        return finish(self._draw(inputs, sampling, 0, sampling.passes, Stopwatch()))

    def sampled_values(self, raw: Array) -> Float64:
        """Raw outputs of thinned networks (passes, rows, outputs) → calibrated probabilities, or answers."""
        return self._values(raw, self.manifest.sampled_temperature or self.manifest.temperature)

    def summarise(self, values: Float64) -> Uncertainty:
        """Values (passes, rows, outputs) → what the passes say of each row."""
        if self.manifest.task == "classification":
            return summarise_classes(values)
        return summarise_regression(values, self.manifest.noise.std if self.manifest.noise else 0.0)

    def warm_up(self) -> None:
        """Run both graphs a few times, so that the first caller need not wait; learn what they cost, and whether
        a row's batch-mates change its answer.
        """
        per_run = self._row_passes_per_run
        passes, rows = min(32, per_run), min(ROWS_TRIED, per_run)
        self._row_cost = measure(lambda count: self.predict(self._zeros(count)), 1, rows)._replace(per_run=per_run)
        rows = max(1, rows // passes)
        cost = measure(lambda count: self.sample(self._zeros(count), Sampling(passes, seed=0)), 1, rows)
        self._row_pass_cost = Cost(cost.each / passes, cost.run, per_run)
        self.rows_are_independent = bool(self.examples) and self._same_alone(self.examples, Sampling(passes, seed=0))

    def _same_alone(self, inputs: Inputs, sampling: Sampling) -> bool:
        """Whether every row gets, to the last bit, the same answer alone as among others: some kernels of matrix
        products add in another order for one row than for many.
        """
        together = self._predict.run(inputs), self.draw_all(inputs, sampling)
        for row in cut_rows(count_rows(inputs), 1):
            alone = _take(inputs, row)
            same = np.array_equal(self._predict.run(alone), together[0][row])
            if not same or not np.array_equal(self.draw_all(alone, sampling), together[1][:, row]):
                return False
        return True

    def _may_share(self, cost: Cost, rows: int) -> bool:
        return self.rows_are_independent and cost.seconds(rows) <= SHARED_SECONDS

    def _predict_watched(self, inputs: Inputs, watch: Stopwatch) -> Prediction:
        return finish(self._answer_steps(inputs, self._predicted, self._row_cost, watch))

    def _sample_watched(self, inputs: Inputs, watch: Stopwatch, sampling: Sampling) -> Sampled:
        return finish(self._sample_steps(inputs, sampling, watch))

    def _sample_steps(self, inputs: Inputs, sampling: Sampling, watch: Stopwatch) -> OwnSteps[Sampled]:
        """The rows are cut first, the passes only when a single row's are too many: what comes before the
        first dropout is then computed once a row.
        """
        rows = count_rows(inputs)
        first_look = next(iter(sampling.looks()))
        yield self._row_cost.seconds(rows) + self._row_pass_cost.seconds(rows * first_look)
        watch.lap("queue")
        parts: list[Part] = []
        for some in cut_rows(rows, rows_per_part(sampling.passes, self.manifest, self._row_passes_per_run)):
            waiting = rows - some.stop
            rest = self._row_cost.seconds(rows) + self._row_pass_cost.seconds(waiting * first_look)
            parts += yield from and_then(self._sample_rows(inputs, np.arange(rows)[some], sampling, watch), rest)
        deterministic = yield from self._deterministic_steps(inputs, sampling, watch)
        return join(parts, deterministic)

    def _sample_rows(self, inputs: Inputs, rows: Rows, sampling: Sampling, watch: Stopwatch) -> OwnSteps[list[Part]]:
        """These rows, in parts of as many passes each."""
        if sampling.stop:
            return (yield from self._sample_until_settled(inputs, rows, sampling, watch))
        raw = yield from self._draw(_take(inputs, rows), sampling, 0, sampling.passes, watch)
        parts = []
        for some in cut_rows(len(rows), rows_per_summary(sampling.passes, self.manifest)):
            values = _of_rows(rows[some], self.sampled_values, raw[:, some])
            parts.append(self._part(rows[some], values, sampling, "max"))
        watch.lap("summarise")
        return parts

    def _sample_until_settled(
        self, inputs: Inputs, rows: Rows, sampling: Sampling, watch: Stopwatch
    ) -> OwnSteps[list[Part]]:
        """Look, now and then, which rows need no more passes."""
        parts: list[Part] = []
        drawn = np.empty((0, len(rows), *self.manifest.output.shape))  # (passes, rows, outputs)
        for look in sampling.looks():
            raw = yield from self._draw(_take(inputs, rows), sampling, len(drawn), look, watch)
            drawn = np.concatenate([drawn, _of_rows(rows, self.sampled_values, raw)])
            stopped = sampling.stops(drawn)
            for reason in np.unique(stopped[stopped != ""]):
                here = stopped == reason
                parts.append(self._part(rows[here], drawn[:, here], sampling, str(reason)))
            rows, drawn = rows[stopped == ""], drawn[:, stopped == ""]
            watch.lap("summarise")
            if not len(rows):
                break
        return parts

    def _draw(self, inputs: Inputs, sampling: Sampling, start: int, stop: int, watch: Stopwatch) -> OwnSteps[Array]:
        """The raw output of passes start … stop-1: (stop-start, rows, outputs), float32."""
        rows = count_rows(inputs)
        sites = sampling.sites(self.manifest)
        longest = min(self._row_passes_per_run // rows, passes_per_block(sites))
        samples: list[Array] = []
        for first, last in cut_passes(start, stop, longest):
            masks = sampling.ablate(self._masks.masks(sampling.seed, sites, first, last))
            samples.append(self._run_masked(inputs, masks))
            watch.lap("run")
            yield self._row_pass_cost.seconds(rows * (stop - last))
            watch.lap("queue")
        return samples[0] if len(samples) == 1 else np.concatenate(samples)

    def _part(self, rows: Rows, values: Float64, sampling: Sampling, stopped: str) -> Part:
        _, count, outputs = values.shape
        if sampling.quantiles:
            quantiles = np.quantile(values, sampling.quantiles, axis=0).swapaxes(0, 1)  # (rows, quantiles, outputs)
        else:  # numpy sorts all values for none, too
            quantiles = np.empty((count, 0, outputs))
        kept = values if sampling.keep_samples else None
        return Part(rows, self.summarise(values), len(values), stopped, quantiles, kept)

    def _deterministic_steps(self, inputs: Inputs, sampling: Sampling, watch: Stopwatch) -> OwnSteps[Prediction]:
        """The deterministic answer: of the network as it is, or of what the ablations leave of it."""
        if not sampling.ablations:
            return (yield from self._answer_steps(inputs, self._predicted, self._row_cost, watch))
        keep_all = [np.ones((1, 1, *site.shape), dtype=np.float32) for site in self.manifest.sites]
        masks = sampling.ablate(keep_all)

        def ablated(some: Inputs) -> Float64:
            return self._values(self._run_masked(some, masks)[0], self.manifest.temperature)

        return (yield from self._answer_steps(inputs, ablated, self._row_pass_cost, watch))

    def _answer_steps(
        self, inputs: Inputs, answer: Callable[[Inputs], Float64], cost: Cost, watch: Stopwatch
    ) -> OwnSteps[Prediction]:
        """The answers to all rows, a piece of them at a time."""
        rows = count_rows(inputs)
        parts: list[Float64] = []
        for some in cut_rows(rows, self._row_passes_per_run):
            yield cost.seconds(rows - some.start)
            watch.lap("queue")
            parts.append(_of_rows(range(some.start, some.stop), answer, _take(inputs, some)))
            watch.lap("run")
        return Prediction(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def _predicted(self, inputs: Inputs) -> Float64:
        return self._values(self._predict.run(inputs), self.manifest.temperature)

    def _values(self, raw: Array, temperature: float) -> Float64:
        """Raw outputs (…, rows, outputs) → values; raises _NotFinite for a row whose outputs are not."""
        if not np.isfinite(raw).all():
            raise _NotFinite(int(np.argwhere(~np.isfinite(raw))[0, -2]))
        return softmax(raw, temperature) if self.manifest.task == "classification" else raw.astype(np.float64)

    def _zeros(self, rows: int) -> Inputs:
        return {spec.name: np.zeros((rows, *spec.shape), dtype=spec.dtype) for spec in self.manifest.inputs}

    def _run_masked(self, inputs: Inputs, masks: Sequence[Array]) -> Array:
        return self._sample.run({**inputs, **dict(zip(self._mask_names, masks, strict=True))})


class _NotFinite(ArithmeticError):
    """A row that the network has no finite answer to; which one it is in the request is known further out."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


def _of_rows(rows: Rows | range, answer: Callable[[Given], Float64], given: Given) -> Float64:
    """The answer; raises InvalidInput naming, by its number in the request, a row without a finite one."""
    try:
        return answer(given)
    except _NotFinite as error:
        row = int(rows[error.row])
    message = f"inputs[{row}]: the network's answer is not a finite number; such values are beyond it"
    raise InvalidInput(message, field=f"inputs[{row}]", row=row)


def _take(inputs: Inputs, rows: slice | Rows) -> Inputs:
    """These rows; all of them cost nothing."""
    taken = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    if taken == count_rows(inputs):
        return inputs
    return {name: array[rows] for name, array in inputs.items()}
