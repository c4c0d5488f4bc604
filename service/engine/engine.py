"""A loaded model, which returns the deterministic answer and samples of thinned networks.

Every answer is a pure function of (model, rows, sampling): calls do not affect each other, so threads may share an
engine, and the cuts into runs change no answer.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from typing import NamedTuple, TypeVar

import numpy as np

from service.engine.answers import Part, Prediction, Rows, Sampled, join
from service.engine.costs import Cost
from service.engine.cuts import cut_passes, cut_rows, row_passes_per_run, rows_per_part, rows_per_run, rows_per_summary
from service.engine.inputs import Inputs, count_rows, join_inputs, take
from service.engine.job import Estimate, Job
from service.engine.masks import DETERMINISTIC, MaskCache, passes_per_block
from service.engine.network import Network
from service.engine.pieces import ModelKey, PassesPiece, Piece, RowsDone, RowsPiece, cut_evenly
from service.engine.sampling import Sampling
from service.engine.uncertainty import Float64, Uncertainty, softmax, summarise_classes, summarise_regression
from service.errors import InvalidInput
from service.model.manifest import LearnedNoise, Manifest, sha256
from service.model.runtime import Array

T = TypeVar("T")

BATCHED_SECONDS = 0.001
"""The longest work to batch; longer work gains little."""
DISTRIBUTED_SECONDS = 0.2
"""The shortest work to distribute, as a remote piece takes some milliseconds more."""
NOT_FINITE = "the network's answer is not a finite number; the values are outside its range"
FEWEST_ROW_PIECES = 8
"""The smallest number of pieces of rows; with fewer, passes are cut instead."""


class Learned(NamedTuple):
    """Measurements of a model at warm-up."""

    row_cost: Cost = Cost()
    """The cost of deterministic answers, by rows."""
    row_pass_cost: Cost = Cost()
    """The cost of samples beside the deterministic answers, by rows × passes."""
    rows_are_independent: bool = False
    """Whether a row's answer is bitwise the same alone and among others."""


class Engine:
    """A model ready to answer."""

    def __init__(self, manifest: Manifest, network: Network, masks: MaskCache) -> None:
        """Serve the network of a model; `masks` is a cache that engines may share."""
        self.manifest = manifest
        self.examples: Inputs = {}
        """A few real rows from the golden answers, for documentation and demonstration."""
        self.learned = Learned()
        """Measurements, set by `service.loading.warmup`."""
        self.rows_per_run = rows_per_run(manifest, network.size)
        self.row_passes_per_run = row_passes_per_run(manifest, network.size)
        self._network = network
        self._masks = masks
        self._passes_per_block = passes_per_block(manifest.sites)
        self._sampled_temperature = manifest.sampled_temperature or manifest.temperature
        self._answered = slice(0, manifest.answers)
        """The outputs without learned noise."""

    @cached_property
    def key(self) -> ModelKey:
        """The identity of the model, different from that of any other."""
        digest = sha256(self.manifest.model_dump_json().encode("utf-8"))
        return ModelKey(self.manifest.name, self.manifest.version, digest)

    def predict(self, inputs: Inputs, job: Job | None = None) -> Prediction:
        """Return the answer of the network without dropout. Raises InvalidInput for a row without a finite answer."""
        job = job or Job()
        rows = count_rows(inputs)
        parts: list[Float64] = []
        for some in cut_rows(rows, self.rows_per_run):
            job.pause(self.learned.row_cost.seconds(rows - some.start))
            numbers = range(some.start, some.stop)
            raw = _concatenate(_run(self._network.predict, take(inputs, some), numbers))
            parts.append(self._values(raw, self.manifest.temperature, numbers))
            job.watch.lap("run")
        return self._prediction(_concatenate(parts))

    def sample(self, inputs: Inputs, sampling: Sampling, job: Job | None = None) -> Sampled:
        """Return the summary of samples, of the same thinned networks for every row, and the deterministic answer.

        Raises InvalidInput for a row without a finite answer.
        """
        job = job or Job()
        rows = count_rows(inputs)
        seconds = self._first_look_seconds(sampling, rows)
        pieces = self._cut_pieces(rows, sampling, seconds)
        if len(pieces) > 1:
            done = self._sample_pieces(inputs, pieces, sampling, job)
        else:
            job.pause(seconds)
            done = self._sample_range(inputs, pieces[0], sampling, job)
        return join(done.parts, self._prediction(_concatenate(done.deterministic)))

    def estimate(self, rows: int, sampling: Sampling | None) -> Estimate:
        """Return the estimated time of a prediction, or with a sampling also of its passes up to the first check."""
        if sampling is None:
            return Estimate(self.learned.row_cost.seconds(rows))
        seconds = self._first_look_seconds(sampling, rows)
        cost = self.learned.row_pass_cost
        further = cost.seconds(rows * sampling.passes) - cost.seconds(rows * sampling.first_look)
        return Estimate(seconds, len(self._cut_pieces(rows, sampling, seconds)) > 1, further)

    def batch_cost(self, rows: int, sampling: Sampling | None, max_seconds: float = BATCHED_SECONDS) -> Cost | None:
        """Return the cost of a row with all passes.

        None if these rows take longer than `max_seconds`, gain nothing from a batch, or might change an answer in it.
        """
        cost = self.learned.row_cost
        if sampling is not None:
            of_pass = self.learned.row_pass_cost
            each, run = of_pass.each * sampling.passes + cost.each, of_pass.run + cost.run
            cost = Cost(each, run, self._rows_at_once(sampling))
        is_short = cost.seconds(rows) <= min(max_seconds, BATCHED_SECONDS)
        return cost if self.learned.rows_are_independent and is_short else None

    def do(self, piece: Piece) -> RowsDone | Array:
        """Compute a piece of a request to another engine. Raises InvalidInput for rows without a finite answer."""
        if isinstance(piece, RowsPiece):
            rows = slice(0, count_rows(piece.inputs))
            return self._sample_range(piece.inputs, rows, piece.sampling, Job()).after(piece.first)
        rows_of_all = range(count_rows(piece.begun))
        return self._draw(piece.begun, rows_of_all, piece.sampling, piece.start, piece.stop, Job(), rest=0.0)

    def draw_all(self, inputs: Inputs, sampling: Sampling) -> Array:
        """Return the raw output of every pass: (passes, rows, outputs), float32. Raises InvalidInput."""
        parts: list[Array] = []
        for some in cut_rows(count_rows(inputs), self._rows_at_once(sampling)):
            numbers = range(some.start, some.stop)
            _, begun = self._begin(take(inputs, some), numbers)
            parts.append(self._draw(begun, numbers, sampling, 0, sampling.passes, Job(), rest=0.0))
        return _concatenate(parts, axis=1)

    def sampled_values(self, raw: Array, rows: Rows | range | None = None) -> Float64:
        """Return calibrated probabilities, or a regression's values, for raw outputs (passes, rows, outputs).

        The standard deviations of learned noise follow the values, as in the graph. Raises InvalidInput for a row
        without finite values, by its number in `rows`.
        """
        return self._values(raw, self._sampled_temperature, rows)

    def summarise(self, values: Float64) -> Uncertainty:
        """Summarise the passes' values (passes, rows, outputs) for each row."""
        if self.manifest.task == "classification":
            return summarise_classes(values)
        if isinstance(noise := self.manifest.noise, LearnedNoise):
            return summarise_regression(self._answers(values), values[..., self.manifest.answers :])
        return summarise_regression(values, noise.std if noise else 0.0)

    def _first_look_seconds(self, sampling: Sampling, rows: int) -> float:
        """Return the estimated seconds of the deterministic answers and the passes before the first check."""
        learned = self.learned
        return learned.row_cost.seconds(rows) + learned.row_pass_cost.seconds(rows * sampling.first_look)

    def _rows_per_part(self, sampling: Sampling) -> int:
        return rows_per_part(sampling.passes, self.manifest, self.row_passes_per_run)

    def _rows_at_once(self, sampling: Sampling) -> int:
        """Return the number of rows of a run without masks, the same as in `predict` if that could change an answer."""
        if self.learned.rows_are_independent:
            return min(self.rows_per_run, self._rows_per_part(sampling))
        return self.rows_per_run

    def _cut_pieces(self, rows: int, sampling: Sampling, seconds: float) -> list[slice]:
        """Return the pieces that may be distributed, only one if the work is too short or has too few rows."""
        if seconds < DISTRIBUTED_SECONDS:
            return [slice(0, rows)]
        pieces = cut_rows(rows, cut_evenly(rows, self._rows_at_once(sampling), seconds))
        return pieces if len(pieces) >= FEWEST_ROW_PIECES else [slice(0, rows)]

    def _sample_pieces(self, inputs: Inputs, pieces: Sequence[slice], sampling: Sampling, job: Job) -> RowsDone:
        """Sample pieces of the rows, by remote workers where there are any."""

        def cut() -> list[RowsPiece]:
            return [RowsPiece(self.key, take(inputs, some), sampling, some.start) for some in pieces]

        def seconds_after(row: int) -> float:
            return self._first_look_seconds(sampling, pieces[-1].stop - row)

        done = RowsDone([], [])
        results = job.distribute(seconds_after(0), cut)
        for some, result in zip(pieces, results or [None] * len(pieces), strict=True):
            done.extend(result or self._sample_range(inputs, some, sampling, job, seconds_after(some.stop)))
        return done

    def _sample_range(self, inputs: Inputs, some: slice, sampling: Sampling, job: Job, rest: float = 0.0) -> RowsDone:
        """Sample a range of rows, after which `rest` seconds of work are left.

        The rows are cut first, and passes only if those of a single row are too many.
        """
        done = RowsDone([], [])
        numbers = np.arange(some.start, some.stop)
        for part in cut_rows(len(numbers), self._rows_at_once(sampling)):
            after = rest + self._first_look_seconds(sampling, len(numbers) - part.stop)
            rows = numbers[part]
            output, begun = self._begin(take(inputs, rows), rows)
            job.watch.lap("run")
            if not sampling.ablations:
                done.deterministic.append(self._values(output, self.manifest.temperature, rows))
            for few in cut_rows(len(rows), self._rows_per_part(sampling)):
                later = after + self.learned.row_pass_cost.seconds((len(rows) - few.stop) * sampling.first_look)
                done.extend(self._sample_rows(take(begun, few), rows[few], sampling, job, later))
        return done

    def _begin(self, inputs: Inputs, rows: Rows | range) -> tuple[Array, Inputs]:
        """Return the raw deterministic output, and what samples of these rows begin with. Raises InvalidInput."""
        outputs, begun = zip(*_run(self._network.begin, inputs, rows), strict=True)
        return _concatenate(outputs), begun[0] if len(begun) == 1 else join_inputs(begun)

    def _sample_rows(self, begun: Inputs, rows: Rows, sampling: Sampling, job: Job, rest: float) -> RowsDone:
        """Return the samples of these rows in parts of equal passes, with ablations also the deterministic pass."""
        start = DETERMINISTIC if sampling.ablations else 0
        raw = self._draw(begun, rows, sampling, start, sampling.first_look, job, rest)
        if sampling.stop:
            predicted, drawn = self._split_values(raw, rows, sampling)
            return RowsDone(predicted, self._sample_until_settled(begun, rows, drawn, sampling, job, rest))
        done = RowsDone([], [])
        for some in cut_rows(len(rows), rows_per_summary(len(raw), self.manifest)):
            predicted, drawn = self._split_values(raw[:, some], rows[some], sampling)
            done.deterministic.extend(predicted)
            done.parts.append(self._part(rows[some], drawn, sampling, "max"))
        job.watch.lap("summarise")
        return done

    def _sample_until_settled(
        self, begun: Inputs, rows: Rows, drawn: Float64, sampling: Sampling, job: Job, rest: float
    ) -> list[Part]:
        """Sample until each row's stop rule holds; `drawn` has the passes before the first check."""
        parts: list[Part] = []
        looks = sampling.looks()
        next(looks)
        while True:  # drawn: (passes, rows, outputs)
            stopped = sampling.stops(self._answers(drawn))
            for reason in np.unique(stopped[stopped != ""]):
                here = stopped == reason
                parts.append(self._part(rows[here], drawn[:, here], sampling, str(reason)))
            left = np.flatnonzero(stopped == "")
            begun, rows, drawn = take(begun, left), rows[left], drawn[:, left]
            job.watch.lap("summarise")
            if not len(rows):
                return parts
            raw = self._draw(begun, rows, sampling, len(drawn), next(looks), job, rest)
            drawn = np.concatenate([drawn, self.sampled_values(raw, rows)])

    def _draw(
        self, begun: Inputs, rows: Rows | range, sampling: Sampling, start: int, stop: int, job: Job, rest: float
    ) -> Array:
        """Return the raw output of passes start … stop-1: (stop-start, rows, outputs), float32.

        `begun` comes from `_begin`, `start` may be DETERMINISTIC. Raises InvalidInput that names the first row without
        an answer by `rows`.
        """
        sites = sampling.sites(self.manifest)
        runs = cut_passes(start, stop, self.row_passes_per_run // len(rows), self._passes_per_block)
        cost = self.learned.row_pass_cost
        groups, results = [runs], None
        if len(runs) > 1 and (seconds := cost.seconds(len(rows) * (stop - start))) >= DISTRIBUTED_SECONDS:
            groups = [runs[some] for some in cut_rows(len(runs), cut_evenly(len(runs), 1, seconds))]
            pieces = [(group[0][0], group[-1][1]) for group in groups]
            results = job.distribute(
                seconds + rest, lambda: [PassesPiece(self.key, begun, sampling, *piece) for piece in pieces]
            )
        samples: list[Array] = []
        for group, result in zip(groups, results or [None] * len(groups), strict=True):
            if result is not None:
                samples.append(result)
                continue
            for first, last in group:
                masks = sampling.ablate(self._masks.masks(sampling.seed, sites, first, last))
                run = partial(self._network.sample, masks=masks)
                samples.append(_concatenate(_run(run, begun, rows), axis=1))
                job.watch.lap("run")
                job.pause(cost.seconds(len(rows) * (stop - last)) + rest)
        return _concatenate(samples)

    def _part(self, rows: Rows, values: Float64, sampling: Sampling, stopped: str) -> Part:
        answers = self._answers(values)
        _, count, outputs = answers.shape
        if sampling.quantiles:
            quantiles = np.quantile(answers, sampling.quantiles, axis=0).swapaxes(0, 1)  # (rows, quantiles, outputs)
        else:  # numpy sorts all values even for no quantiles
            quantiles = np.empty((count, 0, outputs))
        kept = answers if sampling.keep_samples else None
        return Part(rows, self.summarise(values), len(values), stopped, quantiles, kept)

    def _prediction(self, values: Float64) -> Prediction:
        """Split values (rows, outputs) into answers and learned noise."""
        if isinstance(self.manifest.noise, LearnedNoise):
            return Prediction(self._answers(values), values[:, self.manifest.answers :])
        return Prediction(values)

    def _answers(self, values: Float64) -> Float64:
        """Return values (…, outputs) without learned noise."""
        return values[..., self._answered]

    def _split_values(self, raw: Array, rows: Rows, sampling: Sampling) -> tuple[list[Float64], Float64]:
        """Return the values of the deterministic pass, if it is the first, and of the others. Raises InvalidInput."""
        if not sampling.ablations:
            return [], self.sampled_values(raw, rows)
        temperature = _temperature_of_passes(self.manifest.temperature, self._sampled_temperature, len(raw))
        values = self._values(raw, temperature, rows)
        return [values[0].copy()], values[1:]  # a view of one pass would keep the others in memory

    def _values(self, raw: Array, temperature: float | Float64, rows: Rows | range | None) -> Float64:
        """Return the values of raw outputs (…, rows, outputs). Raises InvalidInput for a row without finite ones."""
        if not np.isfinite(raw).all():
            row = int(np.argwhere(~np.isfinite(raw))[0, -2])
            raise _refuse_row(row if rows is None else int(rows[row]), NOT_FINITE)
        if self.manifest.task == "classification":
            return softmax(raw, temperature)
        values = raw.astype(np.float64)
        if isinstance(noise := self.manifest.noise, LearnedNoise):
            values[..., self.manifest.answers :] *= noise.scale
        return values


def _run(run: Callable[[Inputs], T], inputs: Inputs, rows: Rows | range) -> list[T]:
    """Return what `run` returns for the inputs, in one part or a few.

    Failed rows are run again by halves, so that the invalid one is found in few runs. Raises InvalidInput that names
    the first row that the graph does not accept.
    """
    try:
        return [run(inputs)]
    except InvalidInput as error:
        if len(rows) == 1:
            raise _refuse_row(int(rows[0]), error.message.removeprefix("inputs: ")) from None
    halves = cut_rows(len(rows), -(-len(rows) // 2))
    return [part for some in halves for part in _run(run, take(inputs, some), rows[some])]


@lru_cache(maxsize=16)
def _temperature_of_passes(deterministic: float, sampled: float, passes: int) -> Float64:
    """Return the temperature of each pass, the deterministic one first: (passes, 1, 1), read-only."""
    temperature = np.full((passes, 1, 1), sampled)
    temperature[0] = deterministic
    temperature.flags.writeable = False
    return temperature


def _refuse_row(row: int, reason: str) -> InvalidInput:
    return InvalidInput(f"inputs[{row}]: {reason}", field=f"inputs[{row}]", row=row)


def _concatenate(parts: Sequence[Array], axis: int = 0) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)
