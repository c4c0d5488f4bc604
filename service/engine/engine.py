"""A loaded model: rows in, answers out. The deterministic answer, and the spread of the thinned networks.

Every answer is a pure function of (model, rows, sampling): no call changes what another gets, so threads may
share an engine, and how the work is cut into runs changes no answer.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from service.engine.answers import Part, Prediction, Rows, Sampled, join
from service.engine.costs import Cost
from service.engine.cuts import cut_passes, cut_rows, row_passes_per_run, rows_per_part, rows_per_summary
from service.engine.masks import LEAD, MaskCache, passes_per_block
from service.engine.pieces import ModelKey, PassesPiece, Piece, RowsDone, RowsPiece, cut_evenly
from service.engine.sampling import Sampling
from service.engine.stages import Stopwatch
from service.engine.steps import Inputs, LargeSteps, Offer, OwnSteps, Question, Steps, and_then, count_rows, finish
from service.engine.uncertainty import Float64, Uncertainty, softmax, summarise_classes, summarise_regression
from service.errors import InvalidInput
from service.model.manifest import LearnedNoise, Manifest, sha256
from service.model.runtime import Array, Graph

Run = tuple[int, int]
"""From one pass to before another."""

SHARED_SECONDS = 0.001
"""Work that takes longer gains little from being done together with others'."""
OFFERED_SECONDS = 0.2
"""Work that takes less is not offered to others: to ask them takes some milliseconds a piece."""
NOT_FINITE = "the network's answer is not a finite number; such values are beyond it"
FEWEST_ROW_PIECES = 8
"""Where the rows make fewer pieces, the passes are cut instead."""


class Learned(NamedTuple):
    """What was learned of a model by trying it."""

    row_cost: Cost = Cost()
    """Of the deterministic answer."""
    row_pass_cost: Cost = Cost()
    """Of a sample."""
    rows_are_independent: bool = False
    """Whether a row's answer was, to the last bit, the same alone and among others."""
    lead_is_prediction: bool = False
    """Whether a pass that keeps all units gave, to the last bit, what the graph without dropout gives."""


class Engine:
    """A model ready to answer."""

    def __init__(self, manifest: Manifest, predict: Graph, sample: Graph, masks: MaskCache) -> None:
        self.manifest = manifest
        self.examples: Inputs = {}
        """A few real rows, once the golden answers were replayed; for documentation and demonstration."""
        self.learned = Learned()
        """By `service.loading.warmup`, before it answers callers."""
        self.row_passes_per_run = row_passes_per_run(manifest, sample.size)
        self._predict = predict
        self._sample = sample
        self._masks = masks
        self._mask_names = [f"mask_{i}" for i in range(len(manifest.sites))]

    @cached_property
    def key(self) -> ModelKey:
        """Tells this model from any other."""
        digest = sha256(self.manifest.model_dump_json().encode("utf-8"))
        return ModelKey(self.manifest.name, self.manifest.version, digest)

    def predict(self, inputs: Inputs) -> Prediction:
        """One pass of the network without dropout; raises InvalidInput for rows that it has no finite answer to."""
        return self._predict_watched(inputs, Stopwatch())

    def predict_steps(self, inputs: Inputs, watch: Stopwatch) -> Steps[Prediction]:
        """`predict`, cut into short steps, or shared with others where it is short."""
        if self._may_share(self.learned.row_cost, count_rows(inputs)):
            shared: Prediction = yield Question(self, inputs, self._predict_watched, watch, self.learned.row_cost)
            return shared
        return (yield from self._predict_steps(inputs, watch))

    def sample(self, inputs: Inputs, sampling: Sampling) -> Sampled:
        """Thinned networks, the same for every row; the seed alone says which."""
        return self._sample_watched(inputs, Stopwatch(), sampling)

    def sample_steps(self, inputs: Inputs, sampling: Sampling, watch: Stopwatch) -> Steps[Sampled]:
        """`sample`, cut into short steps, or shared with others where it is short."""
        passes = self.learned.row_pass_cost
        cost = Cost(passes.each * sampling.passes + self.learned.row_cost.each, passes.run + self.learned.row_cost.run)
        if self._may_share(cost, count_rows(inputs)):
            ask = partial(self._sample_watched, sampling=sampling)
            shared: Sampled = yield Question((self, sampling), inputs, ask, watch, cost)
            return shared
        return (yield from self._sample_steps(inputs, sampling, watch))

    def do(self, piece: Piece) -> RowsDone | Array:
        """What another engine of this model offered; raises InvalidInput for rows without a finite answer."""
        if isinstance(piece, RowsPiece):
            rows = slice(0, count_rows(piece.inputs))
            done = finish(self._sample_range(piece.inputs, rows, piece.sampling, piece.led, Stopwatch()))
            return done.after(piece.first)
        return self._draw_at_once(piece.inputs, piece.sampling, piece.start, piece.stop)

    def draw_all(self, inputs: Inputs, sampling: Sampling) -> Array:
        """The raw output of every pass: (passes, rows, outputs), float32; raises InvalidInput."""
        return self._draw_at_once(inputs, sampling, 0, sampling.passes)

    def sampled_values(self, raw: Array) -> Float64:
        """Raw outputs of thinned networks (passes, rows, outputs) → calibrated probabilities, or answers.

        A learned noise's standard deviations lie behind the answers, as in the graph.
        """
        return self._values(raw, self.manifest.sampled_temperature or self.manifest.temperature)

    def summarise(self, values: Float64) -> Uncertainty:
        """Values (passes, rows, outputs) → what the passes say of each row."""
        if self.manifest.task == "classification":
            return summarise_classes(values)
        if isinstance(noise := self.manifest.noise, LearnedNoise):
            return summarise_regression(self._answers(values), values[..., self.manifest.answers :])
        return summarise_regression(values, noise.std if noise else 0.0)

    def lead(self, inputs: Inputs, passes: int) -> Prediction:
        """What the leading pass answers, which keeps all units; it goes with so many others."""
        raw = self._draw_at_once(inputs, Sampling(passes, seed=0), LEAD, passes)
        return self._prediction(_of_rows(range(count_rows(inputs)), self._predicted_values, raw[0]))

    def _may_share(self, cost: Cost, rows: int) -> bool:
        return self.learned.rows_are_independent and cost.seconds(rows) <= SHARED_SECONDS

    def _predict_watched(self, inputs: Inputs, watch: Stopwatch) -> Prediction:
        return finish(self._predict_steps(inputs, watch))

    def _sample_watched(self, inputs: Inputs, watch: Stopwatch, sampling: Sampling) -> Sampled:
        return finish(self._sample_steps(inputs, sampling, watch))

    def _sample_steps(self, inputs: Inputs, sampling: Sampling, watch: Stopwatch) -> LargeSteps[Sampled]:
        rows = count_rows(inputs)
        led = self._is_led_by(sampling)
        apart = 0.0 if led else self.learned.row_cost.seconds(rows)
        seconds = self._first_look_seconds(sampling, rows)
        pieces = list(cut_rows(rows, cut_evenly(rows, self._rows_per_part(sampling), seconds)))
        if seconds < OFFERED_SECONDS or len(pieces) < FEWEST_ROW_PIECES:
            pieces = [slice(0, rows)]
            results = yield apart + seconds
        else:
            results = yield Offer(apart + seconds, lambda: self._row_pieces(inputs, pieces, sampling, led))
        watch.lap("queue")
        done: list[RowsDone] = []
        for some, result in zip(pieces, results or [None] * len(pieces), strict=True):
            rest = apart + self._first_look_seconds(sampling, rows - some.stop)
            steps = self._sample_range(inputs, some, sampling, led, watch)
            done.append(result or (yield from and_then(steps, rest)))
        parts = [part for some in done for part in some.parts]
        if led:
            return join(parts, self._prediction(_concatenate([lead for some in done for lead in some.leads])))
        return join(parts, (yield from self._predict_steps(inputs, watch)))

    def _first_look_seconds(self, sampling: Sampling, rows: int) -> float:
        return self.learned.row_pass_cost.seconds(rows * next(sampling.looks()))

    def _rows_per_part(self, sampling: Sampling) -> int:
        return rows_per_part(sampling.passes, self.manifest, self.row_passes_per_run)

    def _row_pieces(self, inputs: Inputs, rows: Sequence[slice], sampling: Sampling, led: bool) -> list[RowsPiece]:
        return [RowsPiece(self.key, take(inputs, some), sampling, some.start, led) for some in rows]

    def _sample_range(
        self, inputs: Inputs, some: slice, sampling: Sampling, led: bool, watch: Stopwatch
    ) -> LargeSteps[RowsDone]:
        """The rows are cut first, the passes only when a single row's are too many: what comes before the
        first dropout is then computed once a row.
        """
        done = RowsDone([], [])
        numbers = np.arange(count_rows(inputs))
        for part in cut_rows(some.stop - some.start, self._rows_per_part(sampling)):
            rest = self._first_look_seconds(sampling, some.stop - some.start - part.stop)
            steps = self._sample_rows(inputs, numbers[some][part], sampling, led, watch)
            of_part = yield from and_then(steps, rest)
            done.leads.extend(of_part.leads)
            done.parts.extend(of_part.parts)
        return done

    def _is_led_by(self, sampling: Sampling) -> bool:
        """Whether the leading pass, which keeps all units but those ablated, is the deterministic answer."""
        return self.learned.lead_is_prediction or bool(sampling.ablations)

    def _sample_rows(
        self, inputs: Inputs, rows: Rows, sampling: Sampling, led: bool, watch: Stopwatch
    ) -> LargeSteps[RowsDone]:
        """What the leading pass answers to these rows, or nothing, and they in parts of as many passes each."""
        with _named(rows):
            raw = yield from self._draw(take(inputs, rows), sampling, LEAD if led else 0, next(sampling.looks()), watch)
        lead = [_of_rows(rows, self._predicted_values, raw[0])] if led else []
        raw = raw[1:] if led else raw
        if sampling.stop:
            return RowsDone(lead, (yield from self._sample_until_settled(inputs, rows, raw, sampling, watch)))
        parts = []
        for some in cut_rows(len(rows), rows_per_summary(sampling.passes, self.manifest)):
            values = _of_rows(rows[some], self.sampled_values, raw[:, some])
            parts.append(self._part(rows[some], values, sampling, "max"))
        watch.lap("summarise")
        return RowsDone(lead, parts)

    def _sample_until_settled(
        self, inputs: Inputs, rows: Rows, raw: Array, sampling: Sampling, watch: Stopwatch
    ) -> LargeSteps[list[Part]]:
        """Look, now and then, which rows need no more passes; those of the first look were drawn."""
        parts: list[Part] = []
        drawn = _of_rows(rows, self.sampled_values, raw)  # (passes, rows, outputs)
        looks = sampling.looks()
        next(looks)
        while True:
            stopped = sampling.stops(self._answers(drawn))
            for reason in np.unique(stopped[stopped != ""]):
                here = stopped == reason
                parts.append(self._part(rows[here], drawn[:, here], sampling, str(reason)))
            rows, drawn = rows[stopped == ""], drawn[:, stopped == ""]
            watch.lap("summarise")
            if not len(rows):
                return parts
            with _named(rows):
                raw = yield from self._draw(take(inputs, rows), sampling, len(drawn), next(looks), watch)
            drawn = np.concatenate([drawn, _of_rows(rows, self.sampled_values, raw)])

    def _draw_at_once(self, inputs: Inputs, sampling: Sampling, start: int, stop: int) -> Array:
        with _named(range(count_rows(inputs))):
            return finish(self._draw(inputs, sampling, start, stop, Stopwatch()))

    def _draw(self, inputs: Inputs, sampling: Sampling, start: int, stop: int, watch: Stopwatch) -> LargeSteps[Array]:
        """The raw output of passes start … stop-1: (stop-start, rows, outputs), float32. LEAD is a pass too.

        Raises _NoAnswer.
        """
        rows = count_rows(inputs)
        sites = sampling.sites(self.manifest)
        runs = list(cut_passes(start, stop, self.row_passes_per_run // rows, passes_per_block(sites)))
        seconds = self.learned.row_pass_cost.seconds(rows * (stop - start))
        if seconds < OFFERED_SECONDS or len(runs) < 2:
            return (yield from self._draw_runs(inputs, sampling, runs, watch))
        groups = [runs[some] for some in cut_rows(len(runs), cut_evenly(len(runs), 1, seconds))]
        results = yield Offer(seconds, lambda: self._pass_pieces(inputs, groups, sampling))
        watch.lap("queue")
        samples: list[Array] = []
        for group, result in zip(groups, results or [None] * len(groups), strict=True):
            rest = self.learned.row_pass_cost.seconds(rows * (stop - group[-1][1]))
            steps = self._draw_runs(inputs, sampling, group, watch)
            samples.append((yield from and_then(steps, rest)) if result is None else result)
        return _concatenate(samples)

    def _pass_pieces(self, inputs: Inputs, groups: Sequence[Sequence[Run]], sampling: Sampling) -> list[PassesPiece]:
        return [PassesPiece(self.key, inputs, sampling, runs[0][0], runs[-1][1]) for runs in groups]

    def _draw_runs(self, inputs: Inputs, sampling: Sampling, runs: Sequence[Run], watch: Stopwatch) -> OwnSteps[Array]:
        rows = count_rows(inputs)
        sites = sampling.sites(self.manifest)
        stop = runs[-1][1]
        samples: list[Array] = []
        for first, last in runs:
            masks = self._masks.masks(sampling.seed, sites, first, last)
            samples.append(self._run_masked(inputs, sampling.ablate(masks)))
            watch.lap("run")
            yield self.learned.row_pass_cost.seconds(rows * (stop - last))
            watch.lap("queue")
        return _concatenate(samples)

    def _part(self, rows: Rows, values: Float64, sampling: Sampling, stopped: str) -> Part:
        answers = self._answers(values)
        _, count, outputs = answers.shape
        if sampling.quantiles:
            quantiles = np.quantile(answers, sampling.quantiles, axis=0).swapaxes(0, 1)  # (rows, quantiles, outputs)
        else:  # numpy sorts all values for none, too
            quantiles = np.empty((count, 0, outputs))
        kept = answers if sampling.keep_samples else None
        return Part(rows, self.summarise(values), len(values), stopped, quantiles, kept)

    def _predict_steps(self, inputs: Inputs, watch: Stopwatch) -> OwnSteps[Prediction]:
        """The answers to all rows, a piece of them at a time."""
        rows = count_rows(inputs)
        parts: list[Float64] = []
        for some in cut_rows(rows, self.row_passes_per_run):
            yield self.learned.row_cost.seconds(rows - some.start)
            watch.lap("queue")
            with _named(range(some.start, some.stop)):
                parts.append(self._predicted_values(_run(self._predict.run, take(inputs, some), rows_axis=0)))
            watch.lap("run")
        return self._prediction(_concatenate(parts))

    def _prediction(self, values: Float64) -> Prediction:
        """Values (rows, outputs) → the answers, and a learned noise beside them."""
        noise_std = values[:, self.manifest.answers :] if self.manifest.noise_is_learned else None
        return Prediction(self._answers(values), noise_std)

    def _answers(self, values: Float64) -> Float64:
        """Values (…, outputs) without a learned noise."""
        return values[..., : self.manifest.answers]

    def _predicted_values(self, raw: Array) -> Float64:
        """Raw outputs of the network without dropout (rows, outputs) → calibrated probabilities, or answers."""
        return self._values(raw, self.manifest.temperature)

    def _values(self, raw: Array, temperature: float) -> Float64:
        """Raw outputs (…, rows, outputs) → values; raises _NoAnswer for a row whose outputs are not finite."""
        if not np.isfinite(raw).all():
            raise _NoAnswer(int(np.argwhere(~np.isfinite(raw))[0, -2]), NOT_FINITE)
        if self.manifest.task == "classification":
            return softmax(raw, temperature)
        values = raw.astype(np.float64)
        if isinstance(noise := self.manifest.noise, LearnedNoise):
            values[..., self.manifest.answers :] *= noise.scale
        return values

    def _run_masked(self, inputs: Inputs, masks: Sequence[Array]) -> Array:
        of_sites = dict(zip(self._mask_names, masks, strict=True))
        return _run(lambda some: self._sample.run({**some, **of_sites}), inputs, rows_axis=1)


class _NoAnswer(ValueError):
    """A row that the network has no answer to, and why; which one it is in the request is known further out."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(row, reason)
        self.row = row
        self.reason = reason


def _run(run: Callable[[Inputs], Array], inputs: Inputs, rows_axis: int) -> Array:
    """Return the graph's output; raises _NoAnswer with the first row that the graph cannot take.

    What fails is run again by halves, so that the row is found in few runs.
    """
    try:
        return run(inputs)
    except InvalidInput as error:
        rows = count_rows(inputs)
        if rows == 1:
            raise _NoAnswer(0, error.message.removeprefix("inputs: ")) from None
    outputs = []
    for some in cut_rows(rows, -(-rows // 2)):
        with _counted_from(some.start):
            outputs.append(_run(run, take(inputs, some), rows_axis))
    return np.concatenate(outputs, axis=rows_axis)


@contextmanager
def _counted_from(first: int) -> Iterator[None]:
    """Let the number of a row without an answer be that among all rows, of which those in here begin at `first`."""
    try:
        yield
    except _NoAnswer as error:
        error.row += first
        raise


@contextmanager
def _named(rows: Rows | range) -> Iterator[None]:
    """Raise InvalidInput for a row without an answer, naming it by its number in the request."""
    try:
        yield
    except _NoAnswer as error:
        row, reason = int(rows[error.row]), error.reason
    else:
        return
    raise InvalidInput(f"inputs[{row}]: {reason}", field=f"inputs[{row}]", row=row)


def _concatenate(parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _of_rows(rows: Rows | range, values: Callable[[Array], Float64], raw: Array) -> Float64:
    """Return the values of raw outputs; raises InvalidInput for a row without finite ones."""
    with _named(rows):
        return values(raw)


def take(inputs: Inputs, rows: slice | Rows) -> Inputs:
    """These rows; all of them cost nothing."""
    taken = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    if taken == count_rows(inputs):
        return inputs
    return {name: array[rows] for name, array in inputs.items()}
