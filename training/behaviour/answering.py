"""Asking a network the same, and telling its answers apart."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from service.model.runtime import Array


def largest_relative(one: Array, other: Array) -> float:
    """Difference, as a share of the largest number there is, or of 1 where all are smaller."""
    return float(np.abs(one - other).max() / max(1.0, float(np.abs(one).max())))


def distinct(answer: Callable[[], Array], calls: int) -> int:
    """How many different answers come, to the last bit."""
    return len({answer().tobytes() for _ in range(calls)})


def run(module: nn.Module, rows: Array | Tensor) -> Array:
    """What torch answers, in the mode that the module is in."""
    with torch.no_grad():
        answer: Array = module(torch.as_tensor(rows)).numpy()
    return answer
