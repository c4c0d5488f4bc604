"""Rows → batches of the size that a file is fixed at."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from service.model.runtime import Array


def in_batches(
    names: Sequence[str], inputs: Sequence[Tensor], size: int | None
) -> Iterator[tuple[dict[str, Array], int]]:
    """Batches by name of input, filled up with the first rows, and how many of each count; one if the size is free."""
    rows = len(inputs[0])
    size = size or rows
    for start in range(0, rows, size):
        index = np.arange(start, start + size) % rows
        feed = {name: tensor.numpy()[index] for name, tensor in zip(names, inputs, strict=True)}
        yield feed, min(size, rows - start)
