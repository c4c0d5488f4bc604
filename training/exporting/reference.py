"""What exported graphs must agree with: the network itself, run with given masks in the place of its own noise."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from service.model.runtime import Array
from training.exporting.inject import Draw, random_draws, run_with_noise, sampling_copy


class Reference(Protocol):
    """A network, whatever runs it; inputs are one tensor (rows, …) for each of its inputs."""

    def draws(self, inputs: Sequence[Tensor]) -> tuple[Draw, ...]:
        """What one forward pass draws at random, in order of execution."""

    def predict(self, inputs: Sequence[Tensor]) -> Array:
        """Without dropout: (rows, outputs)."""

    def sample(self, inputs: Sequence[Tensor], masks: Sequence[Array], rows_axes: Sequence[int]) -> Array:
        """With masks (passes, 1, *shape), one a draw, which drop where they are 0: (passes, rows, outputs).

        `rows_axes` tells for each before which axis of its shape the rows of the network's own noise come.
        """


class TorchReference:
    """A torch module, of which copies are run."""

    def __init__(self, module: nn.Module) -> None:
        self.sampling = sampling_copy(module)
        self.evaluation = sampling_copy(module).eval()

    def draws(self, inputs: Sequence[Tensor]) -> tuple[Draw, ...]:
        return random_draws(self.sampling, inputs)

    def predict(self, inputs: Sequence[Tensor]) -> Array:
        with torch.no_grad():
            return np.asarray(self.evaluation(*inputs).numpy())

    def sample(self, inputs: Sequence[Tensor], masks: Sequence[Array], rows_axes: Sequence[int]) -> Array:
        draws = self.draws(inputs)
        passes = []
        for number in range(len(masks[0])):
            noise = noise_of_pass(number, masks, rows_axes, draws, len(inputs[0]))
            passes.append(run_with_noise(self.sampling, inputs, [torch.from_numpy(kept) for kept in noise]).numpy())
        return np.stack(passes)


def noise_of_pass(
    number: int, masks: Sequence[Array], rows_axes: Sequence[int], draws: Sequence[Draw], rows: int
) -> list[Array]:
    """What each draw keeps in a pass, true or false, with as many elements as the draw has."""
    places = zip(masks, rows_axes, draws, strict=True)
    return [_with_rows(mask[number], axis, draw.shape, rows) for mask, axis, draw in places]


def _with_rows(mask: Array, axis: int, shape: Sequence[int], rows: int) -> Array:
    """One pass's mask (1, *dims) with the rows, if the draw has any, before `axis` of dims."""
    kept = np.expand_dims(mask[0] > 0, axis)
    shared = kept.size == int(np.prod(shape))
    return kept if shared else kept.repeat(rows, axis)
