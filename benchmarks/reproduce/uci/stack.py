"""Train many small networks of one shape side by side.

The cost of thousands of small fits is mostly that of calls, so that the networks' parameters are one matrix, a row a
network, and every operation runs over all of them. Gradients are written out, since autograd would take twice as long.
The networks do not affect each other.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

LEARNING_RATE = 1e-3


class Stack:
    """Networks of ReLU layers with dropout before each layer, also the first.

    The networks are in groups, (groups, members): a group has its own rows, and its members start from the same
    weights, use the same order of rows, and drop a unit where the same uniform number is below their p. So the members
    of a group differ only by p and weight decay.
    """

    def __init__(self, widths: Sequence[int], rates: Tensor, decays: Tensor) -> None:
        """Make networks of `widths` from inputs to output, with p in `rates` and penalties in `decays`, both (groups,
        members).
        """
        self.widths = tuple(widths)
        self.groups, self.members = rates.shape
        networks = self.groups * self.members
        size = sum((before + 1) * after for before, after in self._shapes())
        self.values = torch.zeros(networks, size)
        self.gradients = torch.zeros(networks, size)
        self._layers = self._views(self.values)
        self._gradient_layers = self._views(self.gradients)
        self._rates = rates.reshape(networks, 1, 1)
        self._decay = self._penalised() * 2 * decays.reshape(networks, 1)  # the gradient of λ‖W‖² is 2λW

    def start(self, draws: Sequence[np.random.Generator]) -> None:
        """Draw the weights of each group (Glorot & Bengio 2010), with biases of 0, as the authors' library does."""
        for (before, after), (weight, bias) in zip(self._shapes(), self._layers, strict=True):
            limit = math.sqrt(6 / (before + after))
            drawn = np.stack([draw.uniform(-limit, limit, (before, after)) for draw in draws]).astype(np.float32)
            weight.copy_(torch.from_numpy(drawn).repeat_interleave(self.members, dim=0))
            bias.zero_()

    def layers(self, network: int) -> list[tuple[Tensor, Tensor]]:
        """Return copies of a network's weights (before, after) and biases (after,)."""
        return [(weight[network].clone(), bias[network, 0].clone()) for weight, bias in self._layers]

    def masks(self, uniform: Sequence[Tensor]) -> list[Tensor]:
        """Return masks (networks, rows, width), 0 or 1/(1-p), of uniform numbers (1 or networks, rows, width) for each
        layer.
        """
        return [self._mask(numbers) for numbers in uniform]

    def outputs(self, rows: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """Return the outputs (networks, rows, 1) for rows (groups, rows, inputs)."""
        return self._forward(rows, masks)[1]

    def differentiate(self, rows: Tensor, targets: Tensor, masks: Sequence[Tensor]) -> None:
        """Store each network's gradient of its mean squared error and penalty in `gradients`.

        `rows` are (groups, rows, inputs), `targets` (groups, rows, 1).
        """
        dropped, outputs = self._forward(rows, masks)
        slope = (outputs - targets.repeat_interleave(self.members, dim=0)).mul_(2 / rows.shape[1])
        for number in reversed(range(len(self._layers))):
            weight_gradient, bias_gradient = self._gradient_layers[number]
            torch.sum(slope, dim=1, keepdim=True, out=bias_gradient)
            torch.bmm(dropped[number].transpose(1, 2), slope, out=weight_gradient)
            if number:
                back = _times(slope, self._layers[number][0].transpose(1, 2))
                alive = torch.ops.aten.threshold_backward(back, dropped[number], 0)  # a dropped unit is 0 as well
                slope = alive.mul_(masks[number])
        self.gradients.addcmul_(self.values, self._decay)

    def _forward(self, rows: Tensor, masks: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return the inputs of each layer, and the outputs."""
        first = masks[0].view(self.groups, self.members, *masks[0].shape[1:])
        dropped = [(rows[:, None] * first).flatten(0, 1)]
        for number, (weight, bias) in enumerate(self._layers):
            reached = torch.baddbmm(bias, dropped[number], weight)
            if number + 1 < len(self._layers):
                dropped.append(reached.relu_().mul_(masks[number + 1]))
        return dropped, reached

    def _mask(self, uniform: Tensor) -> Tensor:
        mask = torch.empty(len(self._rates), *uniform.shape[1:])
        return torch.ge(uniform, self._rates, out=mask).mul_(1 / (1 - self._rates))

    def _shapes(self) -> list[tuple[int, int]]:
        return list(zip(self.widths, self.widths[1:], strict=False))

    def _views(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return weights (networks, before, after) and biases (networks, 1, after) of each layer as views of (networks,
        size).
        """
        views, at = [], 0
        for before, after in self._shapes():
            end = at + before * after
            weight, bias = flat[:, at:end], flat[:, end : end + after]
            views.append((weight.view(-1, before, after), bias.view(-1, 1, after)))
            at = end + after
        return views

    def _penalised(self) -> Tensor:
        """Return 1 for each weight, 0 for each bias: (1, size)."""
        ones = [(torch.ones(before * after), torch.zeros(after)) for before, after in self._shapes()]
        return torch.cat([part for pair in ones for part in pair])[None]


def _times(slope: Tensor, weight: Tensor) -> Tensor:
    """Return the product of (networks, rows, after) and (networks, after, before); an outer one is faster
    elementwise.
    """
    return slope * weight if slope.shape[-1] == 1 else torch.bmm(slope, weight)


@torch.no_grad()
def fit(
    stack: Stack,
    inputs: Tensor,
    targets: Tensor,
    *,
    epochs: int,
    batch: int,
    draws: Sequence[np.random.Generator],
    mask_draw: np.random.Generator,
    on_epoch: Callable[[], None] = lambda: None,
) -> None:
    """Train with Adam from new weights: `inputs` (groups, rows, inputs) and `targets` (groups, rows, 1).

    `draws`, one a group, start its weights and shuffle its rows; `mask_draw` gives the uniform numbers of all groups,
    whose rows have their own orders. So a group's result does not depend on the other groups.
    """
    stack.start(draws)
    values = torch.nn.Parameter(stack.values)
    values.grad = stack.gradients
    optimizer = torch.optim.Adam([values], lr=LEARNING_RATE, fused=True)
    for _ in range(epochs):
        order = torch.from_numpy(np.stack([draw.permutation(inputs.shape[1]) for draw in draws]))[:, :, None]
        shuffled = torch.take_along_dim(inputs, order, dim=1), torch.take_along_dim(targets, order, dim=1)
        for rows, expected in zip(*(torch.split(part, batch, dim=1) for part in shuffled), strict=True):
            stack.differentiate(rows, expected, stack.masks(draw_uniform(mask_draw, rows.shape[1], stack.widths)))
            optimizer.step()
        on_epoch()


def draw_uniform(draw: np.random.Generator, rows: int, widths: Sequence[int]) -> list[Tensor]:
    """Return uniform numbers (1, rows, width) for the inputs of each layer."""
    return [torch.from_numpy(draw.random((1, rows, width), dtype=np.float32)) for width in widths[:-1]]


@torch.no_grad()
def sample(stack: Stack, rows: Tensor, passes: int, draws: Sequence[np.random.Generator]) -> Tensor:
    """Return samples (passes, networks, rows) for rows (groups, rows, inputs); `draws` are one a group."""
    answers = []
    for _ in range(passes):
        each = [draw_uniform(draw, rows.shape[1], stack.widths) for draw in draws]
        uniform = [torch.cat(layer).repeat_interleave(stack.members, dim=0) for layer in zip(*each, strict=True)]
        answers.append(stack.outputs(rows, stack.masks(uniform)))
    return torch.stack(answers)[..., 0]
