"""The reference of verification: the network itself, run with given masks in place of its own draws."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from service.model.runtime import Array
from training.exporting.inject import Draw, evaluation_copy, random_draws, run_with_masks, sampling_copy


class Reference(Protocol):
    """A network and its runtime; inputs are one tensor (rows, …) for each of its inputs."""

    def draws(self, inputs: Sequence[Tensor]) -> tuple[Draw, ...]:
        """Return the random draws of one forward pass, in order of execution."""

    def predict(self, inputs: Sequence[Tensor]) -> Array:
        """Return the answers without dropout: (rows, outputs)."""

    def sample(self, inputs: Sequence[Tensor], masks: Sequence[Array | None], rows_axes: Sequence[int]) -> Array:
        """Return the answers with masks (passes, 1, *shape), one a draw, which drop where they are 0: (passes, rows,
        outputs).

        None in place of a mask turns off the dropout of that draw, at least one of which is on. `rows_axes` gives
        for each mask the axis of its shape before which the network's own masks have the rows.
        """


class TorchReference:
    """A torch module; copies of it are run."""

    def __init__(self, module: nn.Module) -> None:
        """Copy the module for sampling and for evaluation."""
        self.sampling = sampling_copy(module)
        self.evaluation = evaluation_copy(self.sampling)

    def draws(self, inputs: Sequence[Tensor]) -> tuple[Draw, ...]:
        """Return the random draws of one forward pass, in order of execution."""
        return random_draws(self.sampling, inputs)

    def predict(self, inputs: Sequence[Tensor]) -> Array:
        """Return the answers without dropout: (rows, outputs)."""
        with torch.no_grad():
            return np.asarray(self.evaluation(*inputs).numpy())

    def sample(self, inputs: Sequence[Tensor], masks: Sequence[Array | None], rows_axes: Sequence[int]) -> Array:
        """Return the answers with masks (passes, 1, *shape), one a draw: (passes, rows, outputs)."""
        draws = self.draws(inputs)
        passes = []
        for number in range(count_passes(masks)):
            kept = masks_of_pass(number, masks, rows_axes, draws, len(inputs[0]))
            given = [None if mask is None else torch.from_numpy(mask) for mask in kept]
            passes.append(run_with_masks(self.sampling, inputs, given).numpy())
        return np.stack(passes)


def count_passes(masks: Sequence[Array | None]) -> int:
    """Return the number of passes of masks (passes, 1, *shape)."""
    return next(len(mask) for mask in masks if mask is not None)


def masks_of_pass(
    number: int, masks: Sequence[Array | None], rows_axes: Sequence[int], draws: Sequence[Draw], rows: int
) -> list[Array | None]:
    """Return the kept units of each draw in a pass, true or false, with as many elements as the draw has; None for a
    draw whose dropout is off.
    """
    places = zip(masks, rows_axes, draws, strict=True)
    return [None if mask is None else _with_rows(mask[number], axis, draw.shape, rows) for mask, axis, draw in places]


def _with_rows(mask: Array, axis: int, shape: Sequence[int], rows: int) -> Array:
    """Return one pass's mask (1, *dims) with the rows, if the draw has any, before `axis` of dims."""
    kept = np.expand_dims(mask[0] > 0, axis)
    shared = kept.size == int(np.prod(shape))
    return kept if shared else kept.repeat(rows, axis)
