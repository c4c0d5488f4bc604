"""Errors and doubts → how much fewer errors there are among the answers that the model doubts least."""

from typing import NamedTuple

import numpy as np

from training.evidence.metrics import Bool, Float64


class RiskCoverage(NamedTuple):
    """What becomes of accepting 1, 2, … all rows, the least doubted first; each (rows,)."""

    coverage: Float64
    """Share of the rows accepted."""
    risk: Float64
    """Mean loss of those."""


def risk_coverage(losses: Float64 | Bool, doubts: Float64) -> RiskCoverage:
    """The risk-coverage curve (El-Yaniv & Wiener 2010) of losses and doubts, (rows,): a loss is 1 of a wrong answer.

    Rows of the same doubt count as in random order: each with the mean loss of them.
    """
    groups, group_of_row, rows = np.unique(doubts, return_inverse=True, return_counts=True)
    loss = np.bincount(group_of_row, weights=losses, minlength=len(groups)) / rows  # of each group, by rising doubt
    accepted = np.arange(1, len(losses) + 1)
    return RiskCoverage(accepted / len(losses), np.cumsum(np.repeat(loss, rows)) / accepted)


def aurc(losses: Float64 | Bool, doubts: Float64) -> float:
    """Area under that curve: the mean risk over all coverages (Geifman, Uziel & El-Yaniv 2019)."""
    return float(risk_coverage(losses, doubts).risk.mean())


def excess_aurc(losses: Float64 | Bool, doubts: Float64) -> float:
    """What of the area is due to the order: beyond that of doubts which rise with the loss (the same, E-AURC).

    The best order's area is computed, not approximated by r + (1 - r) ln(1 - r) as there.
    """
    return aurc(losses, doubts) - aurc(losses, np.asarray(losses, dtype=np.float64))
