"""Measure ensembles of thinned networks by their size, and weight scaling."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from service.engine.engine import Engine
from service.engine.inputs import Inputs
from training.behaviour.charts import Curve, curves, styles
from training.behaviour.claim import Table
from training.behaviour.groups import Groups
from training.behaviour.scores import Score, ensemble_nll
from training.behaviour.settings import WITHOUT
from training.behaviour.statistics import Mean, mean_of
from training.data import Part
from training.evidence.metrics import Float64
from training.evidence.svg import Axis

SIZES = (1, 2, 5, 10, 20, 50, 100, 200)
"""Sizes of ensembles."""
NLL = "NLL (nats)"
FIELDS = ("score", "nll")
"""Figures of ensembles, which `scaled_` begins for weight scaling."""


@dataclass(frozen=True, slots=True)
class Ensembles:
    """Results for one network."""

    sizes: Float64
    """(sizes,): samples of an ensemble."""
    score: Float64
    """(sizes,): mean over the disjoint ensembles of that size."""
    nll: Float64
    """(sizes,): mean over the disjoint ensembles of that size."""
    scaled_score: float
    """Score of weight scaling: the deterministic pass."""
    scaled_nll: float


def measure_ensembles(engine: Engine, inputs: Inputs, samples: Float64, test: Part, score: Score) -> Ensembles:
    """Return the results for samples (passes, rows, outputs) that the engine drew for these rows."""
    sizes = [size for size in SIZES if size < len(samples)] + [len(samples)]
    groups = [list(_disjoint(samples, size)) for size in sizes]  # each (size, rows, outputs)
    scaled = _scaled(engine, inputs)  # (1, rows, outputs)
    return Ensembles(
        np.array(sizes, dtype=np.float64),
        np.array([np.mean([score.of(one.mean(axis=0), test.targets) for one in of]) for of in groups]),
        np.array([np.mean([ensemble_nll(one, test.targets, engine.manifest) for one in of]) for of in groups]),
        float(score.of(scaled[0], test.targets)),
        ensemble_nll(scaled, test.targets, engine.manifest),
    )


def _scaled(engine: Engine, inputs: Inputs) -> Float64:
    """Return the deterministic pass as one sample (1, rows, outputs), with learned noise behind the values."""
    predicted = engine.predict(inputs)
    parts = [predicted.values] if predicted.noise_std is None else [predicted.values, predicted.noise_std]
    return np.concatenate(parts, axis=-1)[None]


def _disjoint(samples: Float64, size: int) -> Iterator[Float64]:
    """Yield disjoint groups of `size` samples."""
    for first in range(0, len(samples) - size + 1, size):
        yield samples[first : first + size]


def sizes_table(found: Groups[Ensembles], score: Score) -> Table:
    """Return a table by the size of the ensemble, with dropout only."""
    groups = {name: of for name, of in found.named().items() if name != f"p = {WITHOUT:g}"}
    sizes = next(iter(groups.values()))[0].sizes
    columns = [column(of, field) for of in groups.values() for field in FIELDS]
    rows = [(f"{size:.0f} thinned", *(str(means[i]) for means in columns)) for i, size in enumerate(sizes)]
    scaled = [mean_of([getattr(m, f"scaled_{field}") for m in of]) for of in groups.values() for field in FIELDS]
    rows.append(("weight scaling", *map(str, scaled)))
    without = found.by_rate[WITHOUT]
    alone = f"{score.name} {mean_of([m.scaled_score for m in without])}"
    if score.sign > 0:  # the noise of a regression is fitted to thinned networks
        alone += f", NLL {mean_of([m.scaled_nll for m in without])}"
    header = ("ensemble", *(f"{title}: {figure}" for title in groups for figure in (score.name, "NLL")))
    return Table(f"Trained without dropout, for comparison: {alone}.", header, rows)


def column(measured: Sequence[Ensembles], field: str) -> list[Mean]:
    """Return the means of a figure over networks: (sizes,)."""
    return [mean_of(values) for values in np.array([getattr(m, field) for m in measured]).T]


def plot_score(found: Groups[Ensembles], score: Score) -> tuple[str, str]:
    """Return caption and chart."""
    return _plot(found, score.name, "Score by ensemble size", "score")


def plot_nll(found: Groups[Ensembles]) -> tuple[str, str]:
    """Return caption and chart."""
    return _plot(found, NLL, "NLL by ensemble size", "nll")


def _plot(found: Groups[Ensembles], name: str, title: str, field: str) -> tuple[str, str]:
    drawn, values = [], []
    for (group, measured), style in zip(found.named().items(), styles(found), strict=True):
        if group == f"p = {WITHOUT:g}":
            continue
        means = column(measured, field)
        y, error = (np.array([getattr(mean, part) for mean in means]) for part in ("mean", "error"))
        x = np.log10(measured[0].sizes)
        level = mean_of([getattr(m, f"scaled_{field}") for m in measured]).mean
        drawn += [Curve(group, style, x, y, error), Curve("", f"{style} faint", x[[0, -1]], np.full(2, level))]
        values += [*(y + np.nan_to_num(error)), *(y - np.nan_to_num(error)), level]
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.01
    x_axis = Axis("thinned networks in the ensemble", 0, float(drawn[0].x[-1]), log=True)
    caption = f"{name} of ensembles by size; the level faint lines are weight scaling."
    return caption[0].upper() + caption[1:], curves(title, x_axis, Axis(name, low - margin, high + margin), drawn)
