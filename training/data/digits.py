"""Handwritten digits as 8×8 counts of inked pixels, 0 to 16 (Alpaydin & Kaynak 1998, UCI)."""

import numpy as np

from training.data.dataset import Dataset


def read_digits() -> Dataset:
    """Return the 1797 digits of scikit-learn as rows of 64 pixels."""
    from sklearn.datasets import load_digits  # slow to import, and of an extra: --help must need neither

    bunch = load_digits()
    return Dataset(
        name="digits",
        inputs=bunch.data.astype(np.float32),
        targets=bunch.target.astype(np.int64),
        features=tuple(bunch.feature_names),
        labels=tuple(str(label) for label in bunch.target_names),
        one_unit=True,
    )
