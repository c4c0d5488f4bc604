"""Read the file of digits as training and test rows."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.reproduce.mnist.protocol import CLASSES
from training.data import Float32, Int64, load_data
from training.errors import TrainingError


class Digits(NamedTuple):
    """Images (rows, 1, height, width) of 0 … 255, and the digit of each (rows,)."""

    images: Tensor
    labels: Tensor
    test_images: Float32
    test_labels: Int64
    turned_images: Float32
    turned_labels: Int64


def read_digits(path: Path, rows: int, test_rows: int, turned_rows: int) -> Digits:
    """Return the first rows of each kind, all for 0; raise TrainingError for another file."""
    data = load_data(str(path))
    test = data.own_test_rows
    if data.inputs.ndim != 4 or data.inputs.shape[1] != 1 or len(data.labels) != CLASSES or not test:
        raise TrainingError(
            f"{path}: expected images of ten digits as x_train, y_train, x_test and y_test; found rows of"
            f" {'×'.join(map(str, data.inputs.shape[1:]))}, {len(data.labels)} classes, {test} test rows"
        )
    inputs = data.inputs.astype("float32", copy=False)
    images, labels = inputs[:-test], data.targets[:-test].astype("int64")
    last = slice(-test, None if not test_rows else -test + test_rows or None)
    test_images, test_labels = inputs[last], data.targets[last].astype("int64")
    return Digits(
        torch.from_numpy(images[: rows or None]),
        torch.from_numpy(labels[: rows or None]),
        test_images,
        test_labels,
        test_images[:turned_rows],
        test_labels[:turned_rows],
    )
