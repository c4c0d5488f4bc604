"""Titles and explanations of an evaluation's figures and plots."""

from typing import NamedTuple

KINDS = {"deterministic": "deterministic", "mc": "MC dropout"}
"""Kinds of answers."""
BASELINE = "baseline"
COMPARED = {BASELINE: "constant answer"} | KINDS
"""With a constant answer to all rows: the class frequencies, or the mean of the targets."""


class Figure(NamedTuple):
    """A figure's title, its better direction and its meaning."""

    title: str
    better: str
    meaning: str


GLOSSARY = {
    "accuracy": Figure("accuracy", "higher", "share of the answers that are right"),
    "balanced_accuracy": Figure("balanced accuracy", "higher", "mean over the classes of the share that is right"),
    "nll": Figure("NLL (nats)", "lower", "negative log-likelihood of the truth; confident errors cost most"),
    "brier": Figure("Brier score", "lower", "squared distance of the probabilities from the truth, 0 to 2"),
    "ece": Figure("ECE (15 bins)", "lower", "gap between confidence and accuracy"),
    "ece_weighted": Figure(
        "ECE, class weights", "lower", "the same where classes are as frequent as in the weighted loss"
    ),
    "aurc": Figure("AURC", "lower", "error rate of the most certain rows, over all shares of them"),
    "excess_aurc": Figure("excess AURC", "lower", "the part that a perfect order of the rows would avoid"),
    "rmse": Figure("root mean square error", "lower", "in the target's unit; large errors count more"),
    "mae": Figure("mean absolute error", "lower", "in the target's unit"),
    "crps": Figure("CRPS", "lower", "the mean absolute error of the answer as a distribution"),
    "aurc_mae": Figure(
        "AURC (absolute error)",
        "lower",
        "mean absolute error of the most certain rows, over all shares of them",
    ),
    "excess_aurc_mae": Figure(
        "excess AURC (absolute error)", "lower", "the part that a perfect order of the rows would avoid"
    ),
    "error_correlation": Figure(
        "correlation of error and deviation",
        "higher",
        "whether errors grow with the deviation; 0 is no relation",
    ),
    "mutual_information": Figure(
        "mean mutual information (nats)", "", "disagreement of the samples: a reference for that of new rows"
    ),
}
"""Figures by name, in the order of the card."""
FIGURES = {name: figure.title for name, figure in GLOSSARY.items()}

DETECTED = {
    "wrong": "wrong answers among right ones",
    "noise": "noise among test rows",
    "rotated": "images rotated by 90° among test rows",
    "other": "rows of other data among test rows",
}
"""Rows that uncertainty should separate, by the kind in an AUROC's name."""
SCORES = {
    "entropy": "entropy",
    "confidence": "1 - highest probability",
    "mutual_information": "mutual information",
    "std": "deviation of the samples",
}
"""Uncertainty scores by their name in an AUROC's name."""
SETS = {"deterministic": "conformal, the deterministic answer", "mc": "normal distribution, MC dropout"}
"""The sets and intervals of each kind of answer."""

RELIABILITY = "reliability.svg"
RISK_COVERAGE = "risk_coverage.svg"
INTERVALS = "predicted_and_true.svg"
INTERVAL_COVERAGE = 0.9
"""Coverage of the intervals drawn."""
PLOTS = {
    RELIABILITY: "Reliability: accuracy against confidence. On the dashed line both are equal; large"
    " dots are many rows.",
    RISK_COVERAGE: "Risk and coverage: error rate of the rows answered, against the share of them. Lower is better.",
    INTERVALS: "The first output, predicted against true, with intervals of normal distributions.",
}
"""Captions of the plots beside the card, by file name."""
