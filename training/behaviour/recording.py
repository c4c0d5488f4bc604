"""Record the inputs and outputs of dropout layers in training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, is_grad_enabled, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.module import register_module_forward_hook

from service.engine.masks import Float32

UNITS = 512
"""The number of a layer's first units that are recorded."""


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """Inputs and outputs of one dropout layer; both arrays are (steps, rows, units)."""

    title: str
    p: float
    inputs: Float32
    outputs: Float32


@contextmanager
def record_dropout(steps: int, title: str) -> Iterator[list[LayerRecord]]:
    """Record the first training steps of every dropout layer; the list is filled at the end of the context.

    Steps of fewer rows than the first are skipped, passes without gradients, which are not training, and networks with
    fewer steps than another, which are only tried.
    """
    layers: dict[int, tuple[float, list[tuple[Float32, Float32]]]] = {}

    def note(module: nn.Module, given: tuple[Any, ...], answer: Tensor) -> None:
        if not (isinstance(module, _DropoutNd) and module.training and is_grad_enabled()):
            return
        _, noted = layers.setdefault(id(module), (module.p, []))
        pair = _units(given[0]), _units(answer)
        if len(noted) < steps and (not noted or noted[0][0].shape == pair[0].shape):
            noted.append(pair)

    seen: list[LayerRecord] = []
    handle = register_module_forward_hook(note)
    try:
        yield seen
    finally:
        handle.remove()
    most = max((len(noted) for _, noted in layers.values()), default=0)
    trained = [layer for layer in layers.values() if len(layer[1]) == most]
    for number, (p, noted) in enumerate(trained, start=1):
        inputs, outputs = (np.stack(side) for side in zip(*noted, strict=True))
        seen.append(LayerRecord(f"{title}, layer {number}", p, inputs, outputs))


def _units(values: Tensor) -> Float32:
    """Return the first units (rows, units) of values (rows, …)."""
    array: Float32 = values.detach().flatten(1)[:, :UNITS].cpu().numpy()
    return array.copy()
