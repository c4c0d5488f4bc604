"""Dropout whose masks are drawn at a fifth of the cost, while a network trains on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn


@contextmanager
def cheap_masks(network: nn.Module) -> Iterator[None]:
    """Its modules of type nn.Dropout draw uniform numbers; torch draws Bernoulli ones, 10 ns each.

    The modules stay what they are: outside of this they, and their export, are torch's own. It is not for a network
    that torch.compile runs: that draws as cheaply by itself, and compiles anew when a module changes.
    """
    layers = [layer for layer in network.modules() if type(layer) is nn.Dropout]
    for layer in layers:
        layer.forward = partial(_dropped, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _dropped(layer: nn.Dropout, values: Tensor) -> Tensor:
    """As nn.functional.dropout. In float32 whatever the values are: fewer bits would round the probability."""
    if not layer.training:
        return values
    keep = 1 - layer.p
    mask = torch.rand(values.shape, device=values.device).lt_(keep).div_(keep or 1)
    return values * mask.to(values.dtype)
