"""What the figures and plots of an evaluation are called, and what they say to a user."""

from typing import NamedTuple

KINDS = {"deterministic": "deterministic", "mc": "MC dropout"}
BASELINE = "baseline"
COMPARED = {BASELINE: "constant answer"} | KINDS
"""With what one answer to all rows would get: the commonest class, or the mean."""


class Figure(NamedTuple):
    """In words."""

    title: str
    better: str
    meaning: str


GLOSSARY = {
    "accuracy": Figure("accuracy", "higher", "share of the answers that are right"),
    "balanced_accuracy": Figure("balanced accuracy", "higher", "mean over the classes of the share that is right"),
    "nll": Figure("NLL (nats)", "lower", "surprise at the truth; being sure and wrong costs most"),
    "brier": Figure("Brier score", "lower", "squared distance of the probabilities from the truth, 0 to 2"),
    "ece": Figure("ECE (15 bins)", "lower", "gap between how sure it is and how often it is right"),
    "ece_weighted": Figure(
        "ECE, class weights", "lower", "the same where classes are as frequent as in the weighted loss"
    ),
    "aurc": Figure("AURC", "lower", "error rate when only the surest rows are answered, over all shares of them"),
    "excess_aurc": Figure("excess AURC", "lower", "what of it a perfect order of the rows would avoid"),
    "rmse": Figure("root mean square error", "lower", "in the target's unit; large errors count more"),
    "mae": Figure("mean absolute error", "lower", "in the target's unit"),
    "crps": Figure("CRPS", "lower", "as the mean absolute error, of the answer together with its deviation"),
    "aurc_mae": Figure(
        "AURC (absolute error)", "lower", "mean absolute error when only the surest rows are answered, over all shares"
    ),
    "excess_aurc_mae": Figure(
        "excess AURC (absolute error)", "lower", "what of it a perfect order of the rows would avoid"
    ),
    "error_correlation": Figure(
        "correlation of error and deviation", "higher", "whether it errs more where it says so; 0 is no relation"
    ),
    "mutual_information": Figure(
        "mean mutual information (nats)", "", "how far the thinned networks disagree: a scale for that of new rows"
    ),
}
FIGURES = {name: figure.title for name, figure in GLOSSARY.items()}

DOUBTFUL = {
    "wrong": "wrong answers among right ones",
    "noise": "noise among test rows",
    "rotated": "images turned by 90° among test rows",
    "other": "rows of other data among test rows",
}
DOUBTS = {
    "entropy": "entropy",
    "confidence": "1 - highest probability",
    "mutual_information": "mutual information",
    "std": "deviation of the passes",
}
SETS = {"deterministic": "conformal, the deterministic answer", "mc": "normal distribution, MC dropout"}
"""What the sets and intervals of a kind of answer are made of."""

RELIABILITY = "reliability.svg"
RISK_COVERAGE = "risk_coverage.svg"
INTERVALS = "predicted_and_true.svg"
INTERVAL_COVERAGE = 0.9
"""Of the intervals that are drawn."""
PLOTS = {
    RELIABILITY: "Reliability: accuracy against confidence. On the dashed line it is right as often as it says; large"
    " dots are many rows.",
    RISK_COVERAGE: "Risk and coverage: error rate of the rows answered, against the share of them. Lower is better.",
    INTERVALS: "The first output, predicted against true, with intervals of normal distributions.",
}
"""Files beside the card, and their captions."""
