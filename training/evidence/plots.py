"""Draw the plots of a model's card as SVG files."""

import numpy as np
from scipy.stats import norm

from service.engine.uncertainty import ClassUncertainty, RegressionUncertainty, entropy
from service.model.runtime import Array
from training.evidence.answers import Answers
from training.evidence.glossary import INTERVAL_COVERAGE, INTERVALS, KINDS, RELIABILITY, RISK_COVERAGE
from training.evidence.metrics import Float64, Int64
from training.evidence.metrics.classes import ece, reliability, right
from training.evidence.metrics.selective import risk_coverage
from training.evidence.svg import Axis, Dots, Line, chart

POINTS = 150
"""The largest number of points of a line, or of rows drawn."""
SMALLEST = 0.03
"""The share of the rows that the smallest dot stands for, so that it is visible."""
END = np.array([0.0, 1.0])


def plot(answers: Answers, targets: Array) -> dict[str, bytes]:
    """Return the plots by file name: reliability and risk-coverage, or the intervals of a regression's first output.

    Targets are classes (rows,), or values (rows, outputs).
    """
    uncertainty = answers.uncertainty
    if not isinstance(uncertainty, ClassUncertainty):
        return {INTERVALS: intervals(uncertainty, targets).encode()}
    both = (answers.deterministic, uncertainty.mean)
    return {
        RELIABILITY: reliability_diagram(both, targets).encode(),
        RISK_COVERAGE: risk_coverage_plot(both, targets).encode(),
    }


def reliability_diagram(both: tuple[Float64, Float64], targets: Int64) -> str:
    """Return accuracy against confidence of deterministic and mean probabilities (rows, classes), as SVG."""
    marks: list[Line | Dots] = [Line(END, END, "guide")]
    for number, (name, probabilities) in enumerate(zip(KINDS.values(), both, strict=True)):
        found = reliability(probabilities, targets)
        shown = f"{name}, ECE {ece(probabilities, targets):.3f}"
        marks += [
            Line(found.confidence, found.accuracy, f"s{number} faint"),
            Dots(found.confidence, found.accuracy, np.maximum(found.share, SMALLEST), f"s{number}", shown),
        ]
    return chart("Accuracy against confidence", Axis("confidence", 0, 1), Axis("accuracy", 0, 1), marks)


def risk_coverage_plot(both: tuple[Float64, Float64], targets: Int64) -> str:
    """Return the error rate against the share of rows accepted, those of lowest entropy first, as SVG."""
    curves = [risk_coverage(~right(p, targets), entropy(p)) for p in both]
    highest = max(float(curve.risk.max()) for curve in curves) or 1.0
    marks = []
    for number, (name, curve) in enumerate(zip(KINDS.values(), curves, strict=True)):
        shown = np.unique(np.linspace(0, len(curve.risk) - 1, POINTS).round().astype(np.int64))
        area = f"{name}, AURC {curve.risk.mean():.4f}"
        marks.append(Line(curve.coverage[shown], curve.risk[shown], f"s{number}", area))
    x, y = Axis("share of the rows answered, most certain first", 0, 1), Axis("error rate", 0, highest)
    return chart("Error rate against coverage", x, y, marks)


def intervals(uncertainty: RegressionUncertainty, targets: Float64) -> str:
    """Return predicted values with normal intervals against the true ones, of the first output, as SVG."""
    order = np.argsort(targets[:, 0], kind="stable")
    rows = order[np.unique(np.linspace(0, len(order) - 1, POINTS).round().astype(np.int64))]
    truth, mean = targets[rows, 0].astype(np.float64), uncertainty.mean[rows, 0]
    half_width = norm.ppf((1 + INTERVAL_COVERAGE) / 2) * uncertainty.total_std[rows, 0]
    low, high = float(min(truth.min(), (mean - half_width).min())), float(max(truth.max(), (mean + half_width).max()))
    high = high if high > low else low + 1.0
    ends = np.array([low, high])
    bars = [
        Line(np.full(2, at), np.array([centre - half, centre + half]), "s1 faint")
        for at, centre, half in zip(truth, mean, half_width, strict=True)
    ]
    bars[0] = bars[0]._replace(name=f"{INTERVAL_COVERAGE:.0%} interval")
    marks: list[Line | Dots] = [
        Line(ends, ends, "guide", "equal"),
        *bars,
        Dots(truth, mean, np.full(len(rows), 0.06), "s0", KINDS["mc"]),
    ]
    return chart("Predicted against true", Axis("true", low, high), Axis("predicted", low, high), marks)
