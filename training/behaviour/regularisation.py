"""Claim 5: on few rows, dropout reduces overfitting."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from training.behaviour.bounds import BOUNDS, above, bounded
from training.behaviour.charts import STYLES, Curve, curves, rounded_up
from training.behaviour.claim import Claim, Finding, Plot, Table
from training.behaviour.networks import capped, few, one_thread, split_of, with_rate
from training.behaviour.settings import WITH, WITHOUT, Settings
from training.behaviour.statistics import mean_of
from training.config import TrainConfig
from training.data import Dataset, Part
from training.evidence.metrics import Float64
from training.evidence.svg import Axis
from training.loop.train import begin
from training.networks.device import choose_device, explained

WHISKERS = 11
"""The number of epochs with whiskers."""
LEAST = f"p = {WITHOUT:g} minus p = {WITH:g}"
"""The name of the difference of two losses."""


@dataclass(frozen=True, slots=True)
class Run:
    """Losses and score without dropout after every epoch; each (epochs,)."""

    learned: Float64
    """Loss of the training rows, as defined by `Loss`."""
    held_out: Float64
    """Loss of held-out rows."""
    score: Float64
    """Score of the held-out rows: accuracy, or the share of the variance explained (R²)."""


Pair = Mapping[float, Run]
"""Runs of one seed and size, without and with dropout."""
DIFFERENCES: dict[str, Callable[[Pair], float]] = {
    "held-out loss at its lowest": lambda of: float(of[WITHOUT].held_out.min() - of[WITH].held_out.min()),
    "held-out loss at the end": lambda of: float(of[WITHOUT].held_out[-1] - of[WITH].held_out[-1]),
    "gap of held-out to learned loss at the end": lambda of: _gap(of[WITHOUT]) - _gap(of[WITH]),
    "held-out score at the end": lambda of: float(of[WITH].score[-1] - of[WITHOUT].score[-1]),
}
"""Differences of a pair, above 0 where dropout helps."""


def regularisation(data: Dataset, config: TrainConfig, settings: Settings, log: Callable[[str], None]) -> Claim:
    """Return the claim, by training on a few of the data's rows, with and without dropout."""
    seeds = range(settings.seed, settings.seed + settings.small_seeds)
    splits = {seed: capped(data, split_of(data, config, seed), settings) for seed in seeds}
    most = min(len(split.train.targets) for split in splits.values())  # seeds may differ by a row
    sizes = sorted({min(size, most) for size in settings.sizes})
    runs: dict[int, list[Pair]] = {}
    for seed, split in splits.items():
        for size in sizes:
            learned, pair = few(data, split.train, size, seed), {}
            for p in (WITHOUT, WITH):
                log(f"training on {size} rows with p = {p:g}, seed {seed}")
                pair[p] = watched_run(data, with_rate(config, p, seed, settings.small_epochs), learned, split.test)
            runs.setdefault(size, []).append(pair)
    return claim(runs, "accuracy" if data.labels else "R²", settings)


def claim(runs: Mapping[int, Sequence[Pair]], score: str, settings: Settings) -> Claim:
    """Return the claim of these runs by their number of training rows, paired by seed."""
    sizes = sorted(runs)
    listed = ", ".join(map(str, sizes))
    return Claim(
        "regularisation",
        "Dropout regularises",
        "On little data, a network trained with dropout does better on held-out rows than one trained"
        " without: its lowest loss is lower, at the end of a long training its loss is still lower, with a smaller gap"
        f" to that on the rows it learned from, and its {score} is higher.",
        tuple(_findings(runs, score)),
        f"Networks were trained for {settings.small_epochs} epochs on {listed} rows, with {settings.small_seeds} seeds"
        " for the rows, first weights, order and dropout. Losses are those of the network as it predicts, without"
        f" dropout, after every epoch, on the rows it learns from and on up to {settings.rows} test rows. The verdict"
        " is on each seed's mean over all sizes, equally weighted; single sizes are reported beside it. The end is the"
        " last epoch. The lowest loss is picked on the held-out rows themselves, in the same way for both p. Sizes,"
        " epochs and seeds were changed while this report was designed, with results of digits in view; they are the"
        " same for all data of this kind of network since, so that only data other than digits is independent of the"
        f" design. ± and whiskers: standard error over the seeds. {BOUNDS}",
        tables=(_losses(runs, score), _differences(runs, score)),
        plots=(
            *(
                Plot(
                    f"loss_{number}.svg",
                    f"{size} rows: loss on held-out rows (lines) and on those learned from (faint) over the epochs.",
                    _over_epochs(runs[size], size),
                )
                for number, size in enumerate(dict.fromkeys((sizes[0], sizes[-1])), start=1)
            ),
            Plot("loss_by_rows.svg", "Above 0, dropout helps; whiskers are one-sided bounds.", _by_rows(runs)),
        ),
    )


def _gap(run: Run) -> float:
    """Return the gap of losses at the end."""
    return float(run.held_out[-1] - run.learned[-1])


def watched_run(data: Dataset, config: TrainConfig, learned: Part, held_out: Part) -> Run:
    """Train on one part, and evaluate both after every epoch."""
    device = choose_device(config.device)
    with one_thread(), torch.random.fork_rng(devices=[]), explained(config, device):
        run, scaling = begin(config, data, learned, device)
        parts = scaling.tensors(learned), scaling.tensors(held_out)
        found = []
        for _ in range(config.epochs):
            run.one_pass()
            found.append([run.validate(rows)[:2] for rows in parts])
    losses = np.array(found)  # (epochs, learned and held out, loss and score)
    return Run(losses[:, 0, 0], losses[:, 1, 0], losses[:, 1, 1])


def _what(name: str, score: str) -> str:
    if name.startswith("held-out score"):
        return f"{name.replace('score', score)}: p = {WITH:g} minus p = {WITHOUT:g}"
    return f"{name}: {LEAST}"


def _findings(runs: Mapping[int, Sequence[Pair]], score: str) -> Iterator[Finding]:
    for name, difference in DIFFERENCES.items():
        by_seed = [[difference(pair) for pair in of] for of in zip(*runs.values(), strict=True)]  # (seeds, sizes)
        yield above(f"mean over sizes, {_what(name, score)}", [float(np.mean(of)) for of in by_seed])


def _losses(runs: Mapping[int, Sequence[Pair]], score: str) -> Table:
    rows = [
        (
            f"{size}, p = {p:g}",
            str(mean_of([pair[p].learned[-1] for pair in pairs])),
            str(mean_of([pair[p].held_out[-1] for pair in pairs])),
            str(mean_of([pair[p].held_out.min() for pair in pairs])),
            str(mean_of([pair[p].score[-1] for pair in pairs])),
        )
        for size, pairs in runs.items()
        for p in (WITHOUT, WITH)
    ]
    header = ("rows", "learned, at the end", "held out, at the end", "held out, lowest", f"{score}, at the end")
    return Table("Losses as in training, mean ± standard error over the seeds.", header, rows)


def _differences(runs: Mapping[int, Sequence[Pair]], score: str) -> Table:
    rows = [
        (f"{size}", *(bounded(mean_of([difference(pair) for pair in of])) for difference in DIFFERENCES.values()))
        for size, of in runs.items()
    ]
    return Table(
        "Differences by the rows learned from, with bounds; above 0, dropout helps. They do not count for the verdict.",
        ("rows", *(_what(name, score) for name in DIFFERENCES)),
        rows,
    )


def _over_epochs(pairs: Sequence[Pair], size: int) -> str:
    drawn = []
    for p in (WITHOUT, WITH):
        held_out, learned = (np.array([getattr(pair[p], name) for pair in pairs]) for name in ("held_out", "learned"))
        epochs = np.arange(1.0, held_out.shape[1] + 1)
        drawn.append(Curve(f"p = {p:g}", STYLES[p], epochs, held_out.mean(axis=0), _error(held_out)))
        drawn.append(Curve("", f"{STYLES[p]} faint", epochs, learned.mean(axis=0)))
    highest = max(float(curve.y.max()) for curve in drawn)
    top = min(highest, 3 * max(float(curve.y[-1]) for curve in drawn))
    low = min(0.0, *(float(curve.y.min()) for curve in drawn))
    x, y = Axis("epoch", 1, max(2.0, float(len(epochs)))), Axis("loss", low, rounded_up(top))
    return curves(f"Loss by epoch, {size} rows", x, y, drawn)


def _by_rows(runs: Mapping[int, Sequence[Pair]]) -> str:
    x = np.log10(np.array(sorted(runs), dtype=np.float64))
    drawn = []
    aside = 0.01 * float(x[-1] - x[0])  # so that bounds do not hide each other
    for name, style, shift in (
        ("held-out loss at its lowest", "s0", -aside),
        ("held-out loss at the end", "s1", aside),
    ):
        means = [mean_of([DIFFERENCES[name](pair) for pair in runs[size]]) for size in sorted(runs)]
        y, reach = (np.array(values) for values in zip(*((m.mean, m.high - m.mean) for m in means), strict=True))
        drawn.append(Curve(name.removeprefix("held-out loss "), style, x + shift, y, reach))
    reached = [abs(curve.y) + np.nan_to_num(curve.error) for curve in drawn if curve.error is not None]
    end = rounded_up(float(np.max(reached)))
    ends = x[[0, -1]] + np.array([-0.1, 0.1])
    drawn.append(Curve("", "guide", ends, np.zeros(2)))
    axes = Axis("rows learned from", float(ends[0]), float(ends[1]), log=True), Axis(f"loss: {LEAST}", -end, end)
    return curves("Gain by number of rows", *axes, drawn)


def _error(values: Float64) -> Float64:
    """Return the standard error (epochs,) of (seeds, epochs); NaN at most epochs, to keep whiskers apart."""
    error = np.full(values.shape[1], np.nan)
    shown = np.linspace(0, len(error) - 1, WHISKERS).round().astype(np.int64)
    if len(values) > 1:
        error[shown] = values.std(axis=0, ddof=1)[shown] / np.sqrt(len(values))
    return error
