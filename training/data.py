"""Named data sets, and their seeded, stratified split into parts that share no row."""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from training.errors import TrainingError

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows to learn from, as they come: preprocessing is the network's."""

    name: str
    inputs: Float32
    """(rows, features)"""
    targets: Int64
    """(rows,): the number of each row's class."""
    features: tuple[str, ...]
    labels: tuple[str, ...]
    one_unit: bool
    """Whether all features are measured in the same unit, as pixels are."""

    @property
    def sha256(self) -> str:
        """Of the inputs' and then the targets' bytes, row by row, little-endian."""
        content = self.inputs.astype("<f4").tobytes() + self.targets.astype("<i8").tobytes()
        return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a data set."""

    inputs: Float32
    targets: Int64


@dataclass(frozen=True, slots=True)
class Split:
    """What each part is for; no row is in two of them, so that none vouches for what it chose itself."""

    train: Part
    """The weights."""
    validation: Part
    """The best epoch, and the temperatures of its network."""
    calibration: Part
    """Conformal quantiles and abstention thresholds."""
    test: Part
    """The figures."""


def load_data(name: str) -> Dataset:
    """The data set of this name; raises TrainingError when there is none."""
    try:
        return SOURCES[name]()
    except KeyError:
        raise TrainingError(f"data: there is no data set {name!r}; there are: {', '.join(SOURCES)}") from None


def split_data(data: Dataset, validation_share: float, calibration_share: float, test_share: float, seed: int) -> Split:
    """Deal the rows out so that each part has nearly the same share of every class.

    Raises TrainingError when a part would be left without rows.
    """
    cuts = tuple(itertools.accumulate((test_share, calibration_share, validation_share)))
    parts = deal(data.targets, cuts, seed)
    if not all(map(len, parts)):
        raise TrainingError(
            f"data: {data.name} has {len(data.targets)} rows, too few for shares of {validation_share:g} to validate,"
            f" {calibration_share:g} to calibrate and {test_share:g} to test"
        )
    test, calibration, validation, train = (Part(data.inputs[rows], data.targets[rows]) for rows in parts)
    return Split(train, validation, calibration, test)


def deal(targets: Int64, cuts: tuple[float, ...], seed: int) -> list[Int64]:
    """Row numbers, each in exactly one part; the parts end at these shares of every class's shuffled rows."""
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    parts: list[list[Int64]] = [[] for _ in range(len(cuts) + 1)]
    for label in np.unique(targets):
        rows = shuffled[targets[shuffled] == label]
        ends = [round(cut * len(rows)) for cut in cuts]
        for part, some in zip(parts, np.split(rows, ends), strict=True):
            part.append(some)
    return [np.sort(np.concatenate(part)) for part in parts]


def _digits() -> Dataset:
    """Handwritten digits as 8×8 counts of inked pixels, 0 to 16 (Alpaydin & Kaynak 1998, UCI)."""
    bunch = load_digits()
    return Dataset(
        name="digits",
        inputs=bunch.data.astype(np.float32),
        targets=bunch.target.astype(np.int64),
        features=tuple(bunch.feature_names),
        labels=tuple(str(label) for label in bunch.target_names),
        one_unit=True,
    )


SOURCES: dict[str, Callable[[], Dataset]] = {"digits": _digits}
