"""Split a data set, seeded and stratified, into parts that share no row, not even an equal one."""

import hashlib
import itertools
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Dataset, Float32, Floats, Int64
from training.errors import TrainingError

BINS = 10
"""Strata of a regression: the largest number of quantile bins of its target."""
ROWS_A_BIN = 20
"""The smallest number of rows in a bin."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a data set."""

    inputs: Floats
    targets: Int64 | Float32


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of a data set by their use; no row is in two, so that each is independent evidence."""

    train: Part
    """Rows that the weights are fitted to."""
    validation: Part
    """Rows that choose the best epoch and the temperatures of its network."""
    calibration: Part
    """Rows that give the conformal quantiles and abstention thresholds."""
    test: Part
    """Rows that give the reported figures."""


def split_data(data: Dataset, validation_share: float, calibration_share: float, test_share: float, seed: int) -> Split:
    """Split the rows so that each part has nearly the same share of every class, or of every tenth of the targets.

    Rows with equal inputs go to the same part. Where the source sets its own test rows apart, they are the test part,
    and rows equal to one of them are left out of the other parts. Shares are of all rows. Raises TrainingError when a
    part would be empty.
    """
    groups, classes = equal_rows(data.inputs), strata(data)
    if data.own_test_rows:
        cuts = tuple(itertools.accumulate((calibration_share, validation_share)))
        own = np.arange(len(groups) - data.own_test_rows, len(groups))
        rest = np.flatnonzero(~np.isin(groups, groups[own]))
        parts = [own, *(rest[part] for part in deal(classes[rest], cuts, seed, groups[rest]))]
    else:
        cuts = tuple(itertools.accumulate((test_share, calibration_share, validation_share)))
        parts = deal(classes, cuts, seed, groups)
    if not all(map(len, parts)):
        raise TrainingError(
            f"data: {data.name} has {len(data.targets)} rows, too few for shares of {validation_share:g} to validate,"
            f" {calibration_share:g} to calibrate and {test_share:g} to test"
            + (f"; only {len(np.unique(groups))} of them are different" if len(np.unique(groups)) < len(groups) else "")
        )
    test, calibration, validation, train = (Part(data.inputs[rows], data.targets[rows]) for rows in parts)
    return Split(train, validation, calibration, test)


def deal(classes: Int64, cuts: tuple[float, ...], seed: int, groups: Int64 | None = None) -> list[Int64]:
    """Return row numbers by part, each in exactly one; the parts end at these shares of every class's shuffled rows.

    Rows of one group stay together, in the class of the group's first row: a group goes to the part that its middle row
    falls into.
    """
    groups = np.arange(len(classes)) if groups is None else groups
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    _, firsts, group_of, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    firsts_shuffled = shuffled[np.isin(shuffled, firsts)]
    part_of = np.zeros(len(firsts), dtype=np.int64)
    for label in np.unique(classes):
        members = group_of[firsts_shuffled[classes[firsts_shuffled] == label]]
        rows_up_to = np.cumsum(sizes[members])
        ends = [round(cut * rows_up_to[-1]) for cut in cuts] if len(members) else []
        part_of[members] = np.searchsorted(ends, rows_up_to - sizes[members] / 2, side="right")
    return [np.flatnonzero(part_of[group_of] == part) for part in range(len(cuts) + 1)]


def equal_rows(inputs: Floats) -> Int64:
    """Return a number for each row, the same for rows of equal inputs: (rows,)."""
    numbers: dict[bytes, int] = {}
    alike = inputs + inputs.dtype.type(0)  # -0.0 becomes 0.0
    alike[np.isnan(alike)] = np.nan  # NaN has many bit patterns
    digests = (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in alike)
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], dtype=np.int64)


def strata(data: Dataset) -> Int64:
    """Return the class of each row, or for a regression the number of its target's quantile bin: (rows,)."""
    if data.labels:
        return data.targets.astype(np.int64)
    values = data.targets[:, 0]
    bins = min(BINS, max(1, len(values) // ROWS_A_BIN))
    return np.digitize(values, np.quantile(values, np.arange(1, bins) / bins)).astype(np.int64)
