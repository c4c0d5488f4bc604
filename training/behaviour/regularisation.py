"""Claim 5: on few rows, dropout keeps a network from learning them by heart."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.behaviour.charts import STYLES, Curve, curves, rounded_up
from training.behaviour.claim import Claim, Finding, Plot, Table
from training.behaviour.networks import capped, one_thread, split_of, with_rate
from training.behaviour.settings import RATES, WITH, WITHOUT, Settings
from training.behaviour.statistics import CONFIDENCE, mean_of
from training.config import TrainConfig
from training.data import Dataset, Part, Split, deal
from training.metrics import Float64, Int64
from training.svg import Axis
from training.train import Epoch, train

WHISKERS = 11


@dataclass(frozen=True, slots=True)
class Run:
    """Without dropout after every epoch, losses in nats; each (epochs,)."""

    learned: Float64
    """Of the rows it learned from."""
    held_out: Float64
    accuracy: Float64
    """Of the held-out rows."""

    @property
    def gap(self) -> float:
        """At the end."""
        return float(self.held_out[-1] - self.learned[-1])


def regularisation(data: Dataset, config: TrainConfig, settings: Settings, say: Callable[[str], None]) -> Claim:
    """Train on a few of the data's rows, with and without dropout."""
    runs: dict[float, list[Run]] = {p: [] for p in RATES}
    for seed in range(settings.seed, settings.seed + settings.small_seeds):
        split = _small(capped(split_of(data, config, seed), settings.rows), settings.small_rows, seed)
        for p in RATES:
            say(f"training on {len(split.train.targets)} rows with p = {p:g}, seed {seed}")
            runs[p].append(_run(data, with_rate(config, p, seed, settings.small_epochs), split))
    return claim(runs, settings)


def claim(runs: Mapping[float, Sequence[Run]], settings: Settings) -> Claim:
    """What the runs of both p say, paired by seed."""
    return Claim(
        "regularisation",
        "Dropout regularises",
        "On little data, a network trained with dropout does better on rows it did not learn from than one trained"
        " without: its lowest loss is lower, more of its answers are right, and at the end of a long training its loss"
        " is still lower, with a smaller gap to that on the rows it learned from.",
        tuple(_findings(runs)),
        f"Networks were trained for {settings.small_epochs} epochs on {settings.small_rows} rows at most, with"
        f" {settings.small_seeds} seeds for the rows, first weights, order and dropout. Both losses are those of the"
        " network as it predicts, without dropout, after every epoch: a run is made twice with the same seed, which"
        " gives the same weights, once watched at the rows it learns from and once at the test rows. Nothing is chosen"
        " by these: the end is the last epoch, not the best. ± and whiskers: standard error over the seeds; bounds:"
        f" Student's t of the paired differences, {CONFIDENCE:.0%}.",
        tables=(_table(runs),),
        plots=(
            Plot(
                "loss.svg",
                "Loss on held-out rows (lines) and on those learned from (faint) over the epochs.",
                _plot(runs),
            ),
        ),
    )


def _small(split: Split, rows: int, seed: int) -> Split:
    """With so many rows to learn from at most, of every class its share."""
    train = split.train
    few = deal(train.targets.astype(np.int64), (min(1.0, rows / len(train.targets)),), seed)[0]
    return replace(split, train=_take(train, few))


def _take(part: Part, rows: Int64) -> Part:
    return Part(part.inputs[rows], part.targets[rows])


def _run(data: Dataset, config: TrainConfig, split: Split) -> Run:
    learned, held_out = (_epochs(data, config, replace(split, validation=part)) for part in (split.train, split.test))
    return Run(
        np.array([epoch.validation_loss for epoch in learned]),
        np.array([epoch.validation_loss for epoch in held_out]),
        np.array([epoch.validation_score for epoch in held_out]),
    )


def _epochs(data: Dataset, config: TrainConfig, split: Split) -> list[Epoch]:
    """What was seen of the rows to validate by."""
    epochs: list[Epoch] = []
    with one_thread():
        train(config, data, split, epochs.append)
    return epochs


def _findings(runs: Mapping[float, Sequence[Run]]) -> Iterator[Finding]:
    pairs = list(zip(runs[WITHOUT], runs[WITH], strict=True))
    loss, accuracy = f"p = {WITHOUT:g} less p = {WITH:g}, nats", f"p = {WITH:g} less p = {WITHOUT:g}"
    for what, differences in (
        (f"lowest held-out loss of all epochs: {loss}", [wo.held_out.min() - w.held_out.min() for wo, w in pairs]),
        (f"held-out accuracy at the end: {accuracy}", [w.accuracy[-1] - wo.accuracy[-1] for wo, w in pairs]),
        (f"held-out loss at the end: {loss}", [wo.held_out[-1] - w.held_out[-1] for wo, w in pairs]),
        (f"gap of held-out to learned loss at the end: {loss}", [wo.gap - w.gap for wo, w in pairs]),
    ):
        found = mean_of(differences)
        yield Finding(what, f"{found}; above {found.low:.4f}", "bound above 0", found.low > 0)


def _table(runs: Mapping[float, Sequence[Run]]) -> Table:
    rows = [
        (
            f"p = {p:g}",
            str(mean_of([run.learned[-1] for run in of])),
            str(mean_of([run.held_out[-1] for run in of])),
            str(mean_of([run.gap for run in of])),
            str(mean_of([run.held_out.min() for run in of])),
            str(mean_of([run.accuracy[-1] for run in of])),
        )
        for p, of in runs.items()
    ]
    header = (
        "network",
        "learned, at the end",
        "held out, at the end",
        "gap",
        "held out, lowest",
        "accuracy, at the end",
    )
    return Table("Losses in nats, mean ± standard error over the seeds.", header, rows)


def _plot(runs: Mapping[float, Sequence[Run]]) -> str:
    drawn = []
    for p, of in runs.items():
        held_out, learned = (np.array([getattr(run, name) for run in of]) for name in ("held_out", "learned"))
        epochs = np.arange(1.0, held_out.shape[1] + 1)
        drawn.append(Curve(f"p = {p:g}", STYLES[p], epochs, held_out.mean(axis=0), _error(held_out)))
        drawn.append(Curve("", f"{STYLES[p]} faint", epochs, learned.mean(axis=0)))
    end = min(float(held_out.max()), 3 * min(float(run.held_out[-1]) for of in runs.values() for run in of))
    x, y = Axis("epoch", 1, max(2.0, float(len(epochs)))), Axis("loss (nats)", 0, rounded_up(end))
    return curves("Does it learn by heart?", x, y, drawn)


def _error(values: Float64) -> Float64:
    """(seeds, epochs) → (epochs,); NaN but at some epochs, for whiskers not to be a band."""
    error = np.full(values.shape[1], np.nan)
    shown = np.linspace(0, len(error) - 1, WHISKERS).round().astype(np.int64)
    if len(values) > 1:
        error[shown] = values.std(axis=0, ddof=1)[shown] / np.sqrt(len(values))
    return error
