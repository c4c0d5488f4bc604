"""Measure whether answers are worse where thinned networks disagree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from service.engine.engine import Engine
from service.engine.uncertainty import ClassUncertainty
from training.behaviour.charts import PUBLISHED, Curve, curves, rounded_up
from training.behaviour.claim import Table
from training.behaviour.groups import Groups
from training.behaviour.scores import Score
from training.behaviour.settings import WITH
from training.behaviour.statistics import CONFIDENCE, Interval, clopper_pearson
from training.data import Part
from training.evidence.metrics import Float64
from training.evidence.metrics.detection import auroc
from training.evidence.svg import Axis

PARTS = 10
"""The number of groups of rows by disagreement."""
MEASURES = {"mutual information": "mutual_information", "variation ratio": "variation_ratio"}
"""Measures of disagreement of a classification, and their fields."""
DEVIATION = "standard deviation"
"""The measure of a regression."""
STYLES = ("s1", "s0")
SHORT = {"mutual information": "by MI", "variation ratio": "by votes", DEVIATION: "by deviation"}
"""Names of measures in legends."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Results for one network."""

    wrong: Float64
    """(rows,): 1 where the mean of all samples is wrong, else 0; for a regression its absolute error."""
    measures: dict[str, Float64]
    """(rows,): disagreement of the samples, by measure."""

    def detection(self, measure: str, score: Score) -> float:
        """Return the AUROC of disagreement for wrong answers, or for a regression its rank correlation with the error.

        NaN where all answers are equal in either.
        """
        measures = self.measures[measure]
        if score.sign > 0:
            return auroc(self.wrong > 0, measures)
        return float(spearmanr(self.wrong, measures).statistic) if np.ptp(self.wrong) * np.ptp(measures) else np.nan


def measure_disagreement(engine: Engine, samples: Float64, test: Part, score: Score) -> Disagreement:
    """Return the results for samples (passes, rows, outputs)."""
    uncertainty = engine.summarise(samples)
    if isinstance(uncertainty, ClassUncertainty):
        measures = {name: getattr(uncertainty, field) for name, field in MEASURES.items()}
    else:
        measures = {DEVIATION: np.linalg.norm(uncertainty.epistemic_std, axis=1)}
    return Disagreement(score.wrong(uncertainty.mean, test.targets), measures)


def detector(score: Score) -> tuple[str, float]:
    """Return the name of the detection figure, and its value by chance."""
    return ("AUROC for wrong answers", 0.5) if score.sign > 0 else ("Spearman's correlation with the error", 0.0)


def error_by_part(measured: Sequence[Disagreement], measure: str, score: Score) -> tuple[Float64, Float64, Float64]:
    """Return the share of wrong answers in each tenth of the rows, by rising disagreement, and its bounds; each
    (parts,).

    For a regression the mean error, and a standard error to either side. Rows of equal disagreement count as in random
    order: each with their mean.
    """
    measures, wrong = [], []
    for m in measured:
        values = m.measures[measure]
        _, group, count = np.unique(values, return_inverse=True, return_counts=True)
        order = np.argsort(values, kind="stable")
        measures.append(np.arange(len(values)) / len(values))
        wrong.append((np.bincount(group, weights=m.wrong) / count)[group][order])
    place = np.minimum((np.concatenate(measures) * PARTS).astype(np.int64), PARTS - 1)
    parts = [np.concatenate(wrong)[place == part] for part in range(PARTS)]
    mean = np.array([part.mean() for part in parts])
    if score.sign > 0:
        bounds = [clopper_pearson(float(part.sum()), len(part), 1 - CONFIDENCE) for part in parts]
    else:
        errors = [float(part.std(ddof=1) / np.sqrt(len(part))) if len(part) > 1 else np.nan for part in parts]
        bounds = [Interval(part.mean() - error, part.mean() + error) for part, error in zip(parts, errors, strict=True)]
    low, high = np.array(bounds, dtype=np.float64).T
    return mean, low, high


def parts_table(found: Groups[Disagreement], score: Score) -> Table:
    """Return the tenths of p = 0.5 and of the published model."""
    groups = {f"p = {WITH:g}": found.by_rate[WITH]} | {title: [m] for title, m in found.published.items()}
    columns = {
        f"{title}: {measure}": error_by_part(of, measure, score)
        for title, of in groups.items()
        for measure in of[0].measures
    }
    rows = [
        (
            f"{i + 1} of {PARTS}",
            *(f"{mean[i]:.4f} [{low[i]:.4f}, {high[i]:.4f}]" for mean, low, high in columns.values()),
        )
        for i in range(PARTS)
    ]
    caption = f"{_what(score)} by tenth of the test rows, from least to most disagreement; rows of all seeds together."
    return Table(f"{caption} {about_bounds(score)}", ("tenth", *columns), rows)


def about_bounds(score: Score) -> str:
    """Return the explanation of the tenths' bounds."""
    kind = f"Clopper-Pearson, {CONFIDENCE:.0%}, two-sided," if score.sign > 0 else "a standard error to either side,"
    return f"Bounds: {kind} as if all rows were independent; seeds share rows, which makes them somewhat narrow."


def plot_parts(found: Groups[Disagreement], score: Score) -> tuple[str, str]:
    """Return caption and chart."""
    x, of = np.arange(1.0, PARTS + 1), found.by_rate[WITH]
    drawn = []
    for measure, style in zip(of[0].measures, STYLES, strict=False):
        mean, low, high = error_by_part(of, measure, score)
        drawn.append(Curve(SHORT[measure], style, x, mean, None, low, high))
    first = next(iter(of[0].measures))
    drawn += [Curve(title, PUBLISHED, x, error_by_part([m], first, score)[0]) for title, m in found.published.items()]
    highest = max(float(np.max(curve.y if curve.high is None else curve.high)) for curve in drawn)
    caption = f"{_what(score)} by tenth of the rows, from least to most disagreement: p = {WITH:g}"
    by = "mutual information (MI) and variation ratio (votes)" if score.sign > 0 else DEVIATION
    caption += f" by {by}, a published model by {first}. {about_bounds(score)}"
    axes = Axis("tenth of the rows, by disagreement", 1, PARTS), Axis(_what(score), 0, rounded_up(highest))
    return caption, curves("Errors by disagreement", *axes, drawn)


def _what(score: Score) -> str:
    return "Share wrong" if score.sign > 0 else "Mean relative error"
