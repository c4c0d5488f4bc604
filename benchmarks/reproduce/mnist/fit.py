"""Train a network by a recipe: a plain loop without validation rows, as the recipe is fixed."""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.reproduce.mnist.protocol import CLASSES, PIXEL, Recipe
from training.errors import TrainingError
from training.networks.network import make_lenet, make_mlp

WARM_UP = 0.1
"""The share of the steps until the step size is at its highest."""


class Ink(nn.Module):
    """Scale pixels of 0 … 255 to 0 … 1 without centring, so that a dropped pixel is black, as in the paper."""

    def forward(self, images: Tensor) -> Tensor:
        """Return images (rows, channels, height, width), scaled."""
        return images / PIXEL


def make_network(recipe: Recipe, images: Tensor) -> nn.Sequential:
    """Return an untrained network from pixels of 0 … 255, (rows, 1, height, width), to logits (rows, 10)."""
    preprocessing: OrderedDict[str, nn.Module] = OrderedDict(ink=Ink())
    if recipe.network == "lenet":
        return make_lenet(preprocessing, images.shape[1:], recipe.hidden, CLASSES, recipe.dropout, recipe.input_dropout)
    preprocessing["flatten"] = nn.Flatten()
    width = images[0].numel()
    return make_mlp(preprocessing, width, recipe.hidden, CLASSES, recipe.dropout, recipe.input_dropout)


def fit(
    recipe: Recipe,
    images: Tensor,
    digits: Tensor,
    device: torch.device,
    seed: int,
    on_epoch: Callable[[float], None],
) -> nn.Sequential:
    """Return the network after the last epoch, in evaluation mode, on the CPU.

    `on_epoch` is called with each epoch's mean loss. Raises TrainingError when that is not finite.
    """
    torch.manual_seed(seed)
    network = make_network(recipe, images).to(device).train()
    images, digits = images.to(device), digits.to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True)
    steps = recipe.epochs * math.ceil(len(images) / recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(step_size, steps=steps))
    for _ in range(recipe.epochs):
        total = torch.zeros((), device=device)
        for batch in torch.split(torch.randperm(len(images)).to(device), recipe.batch):
            loss = cross_entropy(network(images[batch]), digits[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            limit_norms(network, recipe.max_norm)
            total += loss.detach() * len(batch)
        mean = total.item() / len(images)
        if not math.isfinite(mean):
            raise TrainingError("the loss is no longer a finite number: the learning rate of the recipe is too high")
        on_epoch(mean)
    return network.cpu().eval()


def step_size(step: int, steps: int) -> float:
    """Return the step size as a share of the highest: it rises linearly, then falls as a cosine to zero."""
    if step < WARM_UP * steps:
        return (step + 1) / (WARM_UP * steps + 1)
    return (1 + math.cos(math.pi * (step - WARM_UP * steps) / (steps - WARM_UP * steps))) / 2


@torch.no_grad()
def limit_norms(network: nn.Sequential, max_norm: float | None) -> None:
    """Shorten the incoming weights of hidden units to `max_norm` where they are longer (section 5.1 of the paper)."""
    if max_norm is None:
        return
    for layer in [layer for layer in network if isinstance(layer, nn.Linear)][:-1]:
        lengths = torch.linalg.vector_norm(layer.weight, dim=1, keepdim=True)  # (units, 1)
        layer.weight.mul_(torch.clamp(max_norm / lengths, max=1.0))
