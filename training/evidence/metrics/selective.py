"""Selective prediction: errors among the answers that are accepted, the least uncertain first."""

from typing import NamedTuple

import numpy as np

from training.evidence.metrics import Bool, Float64


class RiskCoverage(NamedTuple):
    """Coverage and risk of accepting 1, 2, … all rows, the least uncertain first; each (rows,)."""

    coverage: Float64
    """Share of the rows accepted."""
    risk: Float64
    """Mean loss of the accepted rows."""


def risk_coverage(losses: Float64 | Bool, uncertainties: Float64) -> RiskCoverage:
    """Return the risk-coverage curve (El-Yaniv & Wiener 2010) of losses and uncertainties, both (rows,).

    Rows of equal uncertainty count as in random order: each with their mean loss. The loss of a wrong answer is 1.
    """
    groups, group_of_row, rows = np.unique(uncertainties, return_inverse=True, return_counts=True)
    loss = np.bincount(group_of_row, weights=losses, minlength=len(groups)) / rows  # by rising uncertainty
    accepted = np.arange(1, len(losses) + 1)
    return RiskCoverage(accepted / len(losses), np.cumsum(np.repeat(loss, rows)) / accepted)


def aurc(losses: Float64 | Bool, uncertainties: Float64) -> float:
    """Return the area under the risk-coverage curve, the mean risk over coverages (Geifman, Uziel & El-Yaniv 2019)."""
    return float(risk_coverage(losses, uncertainties).risk.mean())


def excess_aurc(losses: Float64 | Bool, uncertainties: Float64) -> float:
    """Return the area beyond that of the best order, by rising loss (E-AURC; Geifman, Uziel & El-Yaniv 2019).

    The best order's area is computed, not approximated by r + (1 - r) ln(1 - r) as in the paper.
    """
    return aurc(losses, uncertainties) - aurc(losses, np.asarray(losses, dtype=np.float64))
