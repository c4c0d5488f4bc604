"""What goes into the dropout layers of a network in training, and what comes out."""

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
"""Of a layer, the first of them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one dropout layer; both arrays are (steps, rows, units)."""

    title: str
    p: float
    inputs: Float32
    outputs: Float32


@contextmanager
def watch_dropout(steps: int, title: str) -> Iterator[list[Seen]]:
    """While it is entered, the first training steps of every dropout layer; the list is filled at its end. Steps of
    fewer rows than the first are passed over, and so is a pass without gradients, which trains nothing, and a network
    that takes fewer steps than another, as one that is only tried.
    """
    layers: dict[int, tuple[float, list[tuple[Float32, Float32]]]] = {}

    def note(module: nn.Module, given: tuple[Any, ...], answer: Tensor) -> None:
        if not (isinstance(module, _DropoutNd) and module.training and is_grad_enabled()):
            return
        _, noted = layers.setdefault(id(module), (module.p, []))
        pair = _units(given[0]), _units(answer)
        if len(noted) < steps and (not noted or noted[0][0].shape == pair[0].shape):
            noted.append(pair)

    seen: list[Seen] = []
    handle = register_module_forward_hook(note)
    try:
        yield seen
    finally:
        handle.remove()
    most = max((len(noted) for _, noted in layers.values()), default=0)
    trained = [layer for layer in layers.values() if len(layer[1]) == most]
    for number, (p, noted) in enumerate(trained, start=1):
        inputs, outputs = (np.stack(side) for side in zip(*noted, strict=True))
        seen.append(Seen(f"{title}, layer {number}", p, inputs, outputs))


def _units(values: Tensor) -> Float32:
    """(rows, …) → (rows, units), the first of them."""
    array: Float32 = values.detach().flatten(1)[:, :UNITS].cpu().numpy()
    return array.copy()
