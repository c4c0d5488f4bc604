"""Whether answers are worse where thinned networks disagree."""

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
"""Of the rows, by how far the thinned networks disagree."""
DOUBTS = {"mutual information": "mutual_information", "variation ratio": "variation_ratio"}
DEVIATION = "standard deviation"
STYLES = ("s1", "s0")
SHORT = {"mutual information": "by MI", "variation ratio": "by votes", DEVIATION: "by deviation"}
"""In legends."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Of one network."""

    wrong: Float64
    """(rows,): 1 where the consensus of all passes is wrong, else 0; of a regression its absolute error."""
    doubts: dict[str, Float64]
    """(rows,): disagreement of the thinned networks, by its measure."""

    def detection(self, doubt: str, score: Score) -> float:
        """AUROC: how often a wrong answer is doubted more than a right one; of a regression Spearman's correlation of
        doubt and error. NaN where the answers do not differ in either.
        """
        doubts = self.doubts[doubt]
        if score.sign > 0:
            return auroc(self.wrong > 0, doubts)
        return float(spearmanr(self.wrong, doubts).statistic) if np.ptp(self.wrong) * np.ptp(doubts) else np.nan


def measure_disagreement(engine: Engine, samples: Float64, test: Part, score: Score) -> Disagreement:
    """Of passes (passes, rows, outputs)."""
    uncertainty = engine.summarise(samples)
    if isinstance(uncertainty, ClassUncertainty):
        doubts = {name: getattr(uncertainty, field) for name, field in DOUBTS.items()}
    else:
        doubts = {DEVIATION: np.linalg.norm(uncertainty.epistemic_std, axis=1)}
    return Disagreement(score.wrong(uncertainty.mean, test.targets), doubts)


def detector(score: Score) -> tuple[str, float]:
    """What tells whether doubt goes with error, and what it is where it does not."""
    return ("AUROC for wrong answers", 0.5) if score.sign > 0 else ("Spearman's correlation with the error", 0.0)


def error_by_part(measured: Sequence[Disagreement], doubt: str, score: Score) -> tuple[Float64, Float64, Float64]:
    """Each (parts,): share that is wrong of a tenth of the rows, the least doubted first, and its bounds; of a
    regression the mean error, and a standard error to either side.

    Rows of the same doubt count as in random order: each with the mean of them.
    """
    doubts, wrong = [], []
    for m in measured:
        values = m.doubts[doubt]
        _, group, count = np.unique(values, return_inverse=True, return_counts=True)
        order = np.argsort(values, kind="stable")
        doubts.append(np.arange(len(values)) / len(values))
        wrong.append((np.bincount(group, weights=m.wrong) / count)[group][order])
    place = np.minimum((np.concatenate(doubts) * PARTS).astype(np.int64), PARTS - 1)
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
    """Of p = 0.5 and of the published model."""
    groups = {f"p = {WITH:g}": found.by_rate[WITH]} | {title: [m] for title, m in found.published.items()}
    columns = {
        f"{title}: {doubt}": error_by_part(of, doubt, score) for title, of in groups.items() for doubt in of[0].doubts
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
    """Of the tenths."""
    kind = f"Clopper-Pearson, {CONFIDENCE:.0%}, two-sided," if score.sign > 0 else "a standard error to either side,"
    return f"Bounds: {kind} as if all rows were independent; seeds share rows, so that they are somewhat narrow."


def plot_parts(found: Groups[Disagreement], score: Score) -> tuple[str, str]:
    """Caption and chart."""
    x, of = np.arange(1.0, PARTS + 1), found.by_rate[WITH]
    drawn = []
    for doubt, style in zip(of[0].doubts, STYLES, strict=False):
        mean, low, high = error_by_part(of, doubt, score)
        drawn.append(Curve(SHORT[doubt], style, x, mean, None, low, high))
    first = next(iter(of[0].doubts))
    drawn += [Curve(title, PUBLISHED, x, error_by_part([m], first, score)[0]) for title, m in found.published.items()]
    highest = max(float(np.max(curve.y if curve.high is None else curve.high)) for curve in drawn)
    caption = f"{_what(score)} by tenth of the rows, from least to most disagreement: p = {WITH:g}"
    by = "mutual information (MI) and variation ratio (votes)" if score.sign > 0 else DEVIATION
    caption += f" by {by}, a published model by {first}. {about_bounds(score)}"
    axes = Axis("tenth of the rows, by disagreement", 1, PARTS), Axis(_what(score), 0, rounded_up(highest))
    return caption, curves("Does disagreement tell of errors?", *axes, drawn)


def _what(score: Score) -> str:
    return "Share wrong" if score.sign > 0 else "Mean relative error"
