"""A loaded model, which returns the deterministic answer and samples of thinned networks.

Every answer is a pure function of (model, rows, sampling): calls do not affect each other, so threads may share an
engine, and the cuts into runs change no answer.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from service.engine.answers import Part, Prediction, Rows, Sampled, join
from service.engine.costs import Cost
from service.engine.cuts import cut_passes, cut_rows, row_passes_per_run, rows_per_part, rows_per_summary
from service.engine.inputs import Inputs, count_rows, take
from service.engine.job import Estimate, Job
from service.engine.masks import DETERMINISTIC, MaskCache, passes_per_block
from service.engine.pieces import ModelKey, PassesPiece, Piece, RowsDone, RowsPiece, cut_evenly
from service.engine.sampling import Sampling
from service.engine.uncertainty import Float64, Uncertainty, softmax, summarise_classes, summarise_regression
from service.errors import InvalidInput
from service.model.manifest import LearnedNoise, Manifest, sha256
from service.model.runtime import Array, Graph

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
    """The cost of samples, by rows × passes."""
    rows_are_independent: bool = False
    """Whether a row's answer is bitwise the same alone and among others."""
    deterministic_pass_is_exact: bool = False
    """Whether the deterministic pass gives bitwise the same as the graph without dropout."""


class Engine:
    """A model ready to answer."""

    def __init__(self, manifest: Manifest, predict: Graph, sample: Graph, masks: MaskCache) -> None:
        """Combine the two graphs of a model; `masks` is a cache that engines may share."""
        self.manifest = manifest
        self.examples: Inputs = {}
        """A few real rows from the golden answers, for documentation and demonstration."""
        self.learned = Learned()
        """Measurements, set by `service.loading.warmup`."""
        self.row_passes_per_run = row_passes_per_run(manifest, sample.size)
        self._predict = predict
        self._sample = sample
        self._masks = masks
        self._mask_names = [f"mask_{i}" for i in range(len(manifest.sites))]
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
        for some in cut_rows(rows, self.row_passes_per_run):
            job.pause(self.learned.row_cost.seconds(rows - some.start))
            numbers = range(some.start, some.stop)
            raw = _run(self._predict.run, take(inputs, some), {}, numbers, rows_axis=0)
            parts.append(self._values(raw, self.manifest.temperature, numbers))
            job.watch.lap("run")
        return self._prediction(_concatenate(parts))

    def sample(self, inputs: Inputs, sampling: Sampling, job: Job | None = None) -> Sampled:
        """Return the summary of samples, of the same thinned networks for every row, and the deterministic answer.

        Raises InvalidInput for a row without a finite answer.
        """
        job = job or Job()
        rows, deterministic = count_rows(inputs), self._gives_prediction(sampling)
        apart = 0.0 if deterministic else self.learned.row_cost.seconds(rows)
        first_look = self._first_look_seconds(sampling, rows)
        pieces = self._cut_pieces(rows, sampling, first_look)
        if len(pieces) > 1:
            done = self._sample_pieces(inputs, pieces, sampling, deterministic, job, apart)
        else:
            job.pause(apart + first_look)
            done = self._sample_range(inputs, pieces[0], sampling, deterministic, job, apart)
        if not deterministic:
            return join(done.parts, self.predict(inputs, job))
        return join(done.parts, self._prediction(_concatenate(done.deterministic)))

    def estimate(self, rows: int, sampling: Sampling | None) -> Estimate:
        """Return the estimated time of a prediction, or with a sampling of its passes up to the first check."""
        if sampling is None:
            return Estimate(self.learned.row_cost.seconds(rows))
        apart = 0.0 if self._gives_prediction(sampling) else self.learned.row_cost.seconds(rows)
        first_look = self._first_look_seconds(sampling, rows)
        further = self.learned.row_pass_cost.seconds(rows * sampling.passes) - first_look
        return Estimate(apart + first_look, len(self._cut_pieces(rows, sampling, first_look)) > 1, further)

    def batch_cost(self, rows: int, sampling: Sampling | None, max_seconds: float = BATCHED_SECONDS) -> Cost | None:
        """Return the cost of a row with all passes.

        None if these rows take longer than `max_seconds`, gain nothing from a batch, or might change an answer in it.
        """
        cost = self.learned.row_cost
        if sampling is not None:
            of_pass, apart = self.learned.row_pass_cost, Cost() if self._gives_prediction(sampling) else cost
            each, run = of_pass.each * sampling.passes + apart.each, of_pass.run + apart.run
            cost = Cost(each, run, self._rows_per_part(sampling))
        is_short = cost.seconds(rows) <= min(max_seconds, BATCHED_SECONDS)
        return cost if self.learned.rows_are_independent and is_short else None

    def do(self, piece: Piece) -> RowsDone | Array:
        """Compute a piece of a request to another engine. Raises InvalidInput for rows without a finite answer."""
        if isinstance(piece, RowsPiece):
            rows = slice(0, count_rows(piece.inputs))
            return self._sample_range(piece.inputs, rows, piece.sampling, piece.deterministic, Job()).after(piece.first)
        return self._draw_apart(piece.inputs, piece.sampling, piece.start, piece.stop)

    def draw_all(self, inputs: Inputs, sampling: Sampling) -> Array:
        """Return the raw output of every pass: (passes, rows, outputs), float32. Raises InvalidInput."""
        return self._draw_apart(inputs, sampling, 0, sampling.passes)

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

    def deterministic_pass(self, inputs: Inputs, passes: int) -> Prediction:
        """Return the answer of the deterministic pass, which keeps all units, drawn together with `passes` others."""
        raw = self._draw_apart(inputs, Sampling(passes, seed=0), DETERMINISTIC, passes)
        predicted, _ = self._split_values(raw, range(count_rows(inputs)), deterministic=True)
        return self._prediction(_concatenate(predicted))

    def _first_look_seconds(self, sampling: Sampling, rows: int) -> float:
        return self.learned.row_pass_cost.seconds(rows * sampling.first_look)

    def _rows_per_part(self, sampling: Sampling) -> int:
        return rows_per_part(sampling.passes, self.manifest, self.row_passes_per_run)

    def _cut_pieces(self, rows: int, sampling: Sampling, seconds: float) -> list[slice]:
        """Return the pieces that may be distributed, only one if the work is too short or has too few rows."""
        if seconds < DISTRIBUTED_SECONDS:
            return [slice(0, rows)]
        pieces = cut_rows(rows, cut_evenly(rows, self._rows_per_part(sampling), seconds))
        return pieces if len(pieces) >= FEWEST_ROW_PIECES else [slice(0, rows)]

    def _sample_pieces(
        self, inputs: Inputs, pieces: Sequence[slice], sampling: Sampling, deterministic: bool, job: Job, rest: float
    ) -> RowsDone:
        """Sample pieces of the rows, by remote workers where there are any, after which `rest` seconds are left."""

        def cut() -> list[RowsPiece]:
            return [RowsPiece(self.key, take(inputs, some), sampling, some.start, deterministic) for some in pieces]

        def seconds_after(row: int) -> float:
            return rest + self._first_look_seconds(sampling, pieces[-1].stop - row)

        done = RowsDone([], [])
        results = job.distribute(seconds_after(0), cut)
        for some, result in zip(pieces, results or [None] * len(pieces), strict=True):
            after = seconds_after(some.stop)
            done.extend(result or self._sample_range(inputs, some, sampling, deterministic, job, after))
        return done

    def _sample_range(
        self, inputs: Inputs, some: slice, sampling: Sampling, deterministic: bool, job: Job, rest: float = 0.0
    ) -> RowsDone:
        """Sample a range of rows, after which `rest` seconds of work are left.

        The rows are cut first, and passes only if those of a single row are too many, so that the layers before the
        first dropout are computed once per row.
        """
        done = RowsDone([], [])
        numbers = np.arange(some.start, some.stop)
        for part in cut_rows(len(numbers), self._rows_per_part(sampling)):
            after = rest + self._first_look_seconds(sampling, len(numbers) - part.stop)
            done.extend(self._sample_rows(inputs, numbers[part], sampling, deterministic, job, after))
        return done

    def _gives_prediction(self, sampling: Sampling) -> bool:
        """Return whether the deterministic pass, which keeps all units not ablated, gives the deterministic answer."""
        return self.learned.deterministic_pass_is_exact or bool(sampling.ablations)

    def _sample_rows(
        self, inputs: Inputs, rows: Rows, sampling: Sampling, deterministic: bool, job: Job, rest: float
    ) -> RowsDone:
        """Return the samples of these rows in parts of equal passes, and the deterministic pass if requested."""
        start = DETERMINISTIC if deterministic else 0
        raw = self._draw(take(inputs, rows), rows, sampling, start, sampling.first_look, job, rest)
        if sampling.stop:
            predicted, drawn = self._split_values(raw, rows, deterministic)
            return RowsDone(predicted, self._sample_until_settled(inputs, rows, drawn, sampling, job, rest))
        done = RowsDone([], [])
        for some in cut_rows(len(rows), rows_per_summary(len(raw), self.manifest)):
            predicted, drawn = self._split_values(raw[:, some], rows[some], deterministic)
            done.deterministic.extend(predicted)
            done.parts.append(self._part(rows[some], drawn, sampling, "max"))
        job.watch.lap("summarise")
        return done

    def _sample_until_settled(
        self, inputs: Inputs, rows: Rows, drawn: Float64, sampling: Sampling, job: Job, rest: float
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
            rows, drawn = rows[stopped == ""], drawn[:, stopped == ""]
            job.watch.lap("summarise")
            if not len(rows):
                return parts
            raw = self._draw(take(inputs, rows), rows, sampling, len(drawn), next(looks), job, rest)
            drawn = np.concatenate([drawn, self.sampled_values(raw, rows)])

    def _draw_apart(self, inputs: Inputs, sampling: Sampling, start: int, stop: int) -> Array:
        return self._draw(inputs, range(count_rows(inputs)), sampling, start, stop, Job(), rest=0.0)

    def _draw(
        self, inputs: Inputs, rows: Rows | range, sampling: Sampling, start: int, stop: int, job: Job, rest: float
    ) -> Array:
        """Return the raw output of passes start … stop-1: (stop-start, rows, outputs), float32.

        `start` may be DETERMINISTIC. Raises InvalidInput that names the first row without an answer by `rows`.
        """
        sites = sampling.sites(self.manifest)
        runs = cut_passes(start, stop, self.row_passes_per_run // len(rows), self._passes_per_block)
        cost = self.learned.row_pass_cost
        groups, results = [runs], None
        if len(runs) > 1 and (seconds := cost.seconds(len(rows) * (stop - start))) >= DISTRIBUTED_SECONDS:
            groups = [runs[some] for some in cut_rows(len(runs), cut_evenly(len(runs), 1, seconds))]
            pieces = [(group[0][0], group[-1][1]) for group in groups]
            results = job.distribute(
                seconds + rest, lambda: [PassesPiece(self.key, inputs, sampling, *piece) for piece in pieces]
            )
        samples: list[Array] = []
        for group, result in zip(groups, results or [None] * len(groups), strict=True):
            if result is not None:
                samples.append(result)
                continue
            for first, last in group:
                masks = sampling.ablate(self._masks.masks(sampling.seed, sites, first, last))
                feeds = dict(zip(self._mask_names, masks, strict=True))
                samples.append(_run(self._sample.run, inputs, feeds, rows, rows_axis=1))
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

    def _split_values(self, raw: Array, rows: Rows | range, deterministic: bool) -> tuple[list[Float64], Float64]:
        """Return the values of the deterministic pass, if it is the first, and of the others. Raises InvalidInput."""
        if not deterministic:
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


def _run(run: Callable[[Inputs], Array], inputs: Inputs, masks: Inputs, rows: Rows | range, rows_axis: int) -> Array:
    """Return the graph's output. Raises InvalidInput that names the first row that the graph does not accept.

    Failed rows are run again by halves, so that the invalid one is found in few runs.
    """
    try:
        return run({**inputs, **masks})
    except InvalidInput as error:
        if len(rows) == 1:
            raise _refuse_row(int(rows[0]), error.message.removeprefix("inputs: ")) from None
    halves = cut_rows(len(rows), -(-len(rows) // 2))
    parts = [_run(run, take(inputs, some), masks, rows[some], rows_axis) for some in halves]
    return np.concatenate(parts, axis=rows_axis)


@lru_cache(maxsize=16)
def _temperature_of_passes(deterministic: float, sampled: float, passes: int) -> Float64:
    """Return the temperature of each pass, the deterministic one first: (passes, 1, 1), read-only."""
    temperature = np.full((passes, 1, 1), sampled)
    temperature[0] = deterministic
    temperature.flags.writeable = False
    return temperature


def _refuse_row(row: int, reason: str) -> InvalidInput:
    return InvalidInput(f"inputs[{row}]: {reason}", field=f"inputs[{row}]", row=row)


def _concatenate(parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
