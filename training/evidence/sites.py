"""Measure what samples that drop at fewer sites lose in truth and save in time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from service.engine.engine import Engine
from service.engine.inputs import Inputs, take
from service.engine.sampling import Sampling
from service.engine.uncertainty import ClassUncertainty
from service.model.manifest import SiteComparison, SiteFigures
from service.model.runtime import Array
from training.evidence.answers import Answers, compute_answers, uncertainty_scores
from training.evidence.evidence import Evidence
from training.evidence.metrics import Float64
from training.evidence.metrics.classes import right
from training.evidence.metrics.detection import auroc
from training.evidence.metrics.ranks import rank_correlation
from training.evidence.rows import check_rows

MEASURES = ("calibration", "validation", "test")
"""Parts of the data that are compared on, the first one given."""
CHOOSES = ("validation", "calibration")
"""Parts of the data that may choose, the first one given; test rows choose nothing."""
MOST_ROWS = 2000
"""The largest number of rows that are compared on."""
PASSES = 100
"""Samples of the row that is timed."""
RUNS = 5
"""Runs of which the fastest counts."""


@dataclass(frozen=True)
class Subject:
    """Rows to compare on: those of a part of the data, evenly chosen where there are many."""

    part: str
    inputs: Inputs
    targets: Array
    sampling: Sampling

    def answers(self, engine: Engine, sampling: Sampling | None = None) -> Answers:
        """Return a model's answers to the rows, by default with the samples of the evaluation."""
        drawn = sampling or self.sampling
        return compute_answers(engine, self.inputs, drawn.passes, drawn.seed)


def subject_of(evidence: Evidence, parts: Sequence[str], engine: Engine) -> Subject | None:
    """Return the rows of the first of these parts that is given; None without any."""
    for part in parts:
        if rows := evidence.parts.get(part):
            inputs, targets = check_rows(part, rows, engine.manifest)
            some = np.linspace(0, len(targets) - 1, min(len(targets), MOST_ROWS)).astype(int)
            return Subject(part, take(inputs, some), targets[some], evidence.sampling)
    return None


def compare_sites(chosen: Engine, everything: Engine, evidence: Evidence) -> SiteComparison | None:
    """Return figures of the chosen sites beside those of all; None without rows."""
    subject = subject_of(evidence, MEASURES, everything)
    if subject is None:
        return None
    of_all, of_chosen = subject.answers(everything), subject.answers(chosen)
    other_seed = subject.answers(everything, Sampling(evidence.passes, evidence.seed ^ 1))
    return SiteComparison.model_validate(
        {
            "part": subject.part,
            "rows": len(subject.targets),
            "all_sites": _figures(everything, of_all, other_seed, subject),
            "sampled_sites": _figures(chosen, of_chosen, of_all, subject),
        }
    )


def _figures(engine: Engine, answers: Answers, reference: Answers, subject: Subject) -> SiteFigures:
    return SiteFigures(
        rank_correlation=_defined(rank_correlation(spread(answers), spread(reference))),
        detection=_defined(detection(answers, subject.targets)),
        seconds=_seconds(engine, subject),
    )


def spread(answers: Answers) -> Float64:
    """Return the disagreement of the samples on each row: the mutual information, or for a regression the length of
    the outputs' standard deviations.
    """
    of = uncertainty_scores(answers)["mc"]
    return of["mutual_information"] if "mutual_information" in of else of["std"]


def detection(answers: Answers, targets: Array) -> float:
    """Return how well the spread finds errors of the deterministic answer, which is the same for any choice of sites.

    That is the AUROC of wrong answers, and for a regression the rank correlation with the absolute error. NaN where it
    is not defined.
    """
    if isinstance(answers.uncertainty, ClassUncertainty):
        return auroc(~right(answers.deterministic, targets), spread(answers))
    return rank_correlation(spread(answers), np.abs(answers.deterministic - targets).mean(axis=1))


def _seconds(engine: Engine, subject: Subject) -> float:
    """Return the shortest time of PASSES samples of the first row, its deterministic answer included."""
    row, sampling = take(subject.inputs, slice(0, 1)), Sampling(PASSES, subject.sampling.seed)
    times = []
    for _ in range(RUNS):
        begun = perf_counter()
        engine.sample(row, sampling)
        times.append(perf_counter() - begun)
    return min(times)


def _defined(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None
