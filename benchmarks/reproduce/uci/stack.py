"""Many small networks of one shape, trained side by side.

Thousands of tiny fits cost mostly the calls, so that the networks' parameters stand in one matrix, a row a network,
and every operation goes over all of them. The gradients are written out, since recording them for autograd would
take twice as long as computing them. No number of one network enters another's.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

LEARNING_RATE = 1e-3


class Stack:
    """Networks of ReLU layers with dropout before each layer, the inputs' too.

    The networks come in groups, (groups, members): a group has rows of its own, and its members start from the same
    weights, see the same rows in the same order, and drop a unit where the same uniform number is below their p.
    So the members of a group differ by p and weight decay alone.
    """

    def __init__(self, widths: Sequence[int], rates: Tensor, decays: Tensor) -> None:
        """`widths` from inputs to output; `rates` p and `decays` the penalty's factor, both (groups, members)."""
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
        """Weights of Glorot & Bengio (2010) for each group, biases of 0, as the authors' library starts them."""
        for (before, after), (weight, bias) in zip(self._shapes(), self._layers, strict=True):
            limit = math.sqrt(6 / (before + after))
            drawn = np.stack([draw.uniform(-limit, limit, (before, after)) for draw in draws]).astype(np.float32)
            weight.copy_(torch.from_numpy(drawn).repeat_interleave(self.members, dim=0))
            bias.zero_()

    def layers(self, network: int) -> list[tuple[Tensor, Tensor]]:
        """Copies of a network's weights (before, after) and biases (after,)."""
        return [(weight[network].clone(), bias[network, 0].clone()) for weight, bias in self._layers]

    def masks(self, uniform: Sequence[Tensor]) -> list[Tensor]:
        """Uniform numbers, (1 or networks, rows, width) for each layer → (networks, rows, width), 0 or 1/(1-p)."""
        return [self._mask(numbers) for numbers in uniform]

    def outputs(self, rows: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """(groups, rows, inputs) → (networks, rows, 1)."""
        return self._forward(rows, masks)[1]

    def differentiate(self, rows: Tensor, targets: Tensor, masks: Sequence[Tensor]) -> None:
        """Put each network's gradient of its mean squared error and penalty into `gradients`.

        `rows` (groups, rows, inputs), `targets` (groups, rows, 1).
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
        """What goes into each layer, and what comes out of the last."""
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
        """(networks, size) → weights (networks, before, after) and biases (networks, 1, after) of each layer."""
        views, at = [], 0
        for before, after in self._shapes():
            end = at + before * after
            weight, bias = flat[:, at:end], flat[:, end : end + after]
            views.append((weight.view(-1, before, after), bias.view(-1, 1, after)))
            at = end + after
        return views

    def _penalised(self) -> Tensor:
        """1 where a parameter is a weight, 0 where it is a bias: (1, size)."""
        ones = [(torch.ones(before * after), torch.zeros(after)) for before, after in self._shapes()]
        return torch.cat([part for pair in ones for part in pair])[None]


def _times(slope: Tensor, weight: Tensor) -> Tensor:
    """The product of (networks, rows, after) and (networks, after, before); an outer one is faster elementwise."""
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
    """Train with Adam from fresh weights: `inputs` (groups, rows, inputs) and `targets` (groups, rows, 1).

    `draws`, one a group, start its weights and shuffle its rows; `mask_draw` gives the uniform numbers of all
    groups, whose rows come in orders of their own. So what a group learns does not depend on those beside it.
    """
    stack.start(draws)
    values = torch.nn.Parameter(stack.values)
    values.grad = stack.gradients
    optimizer = torch.optim.Adam([values], lr=LEARNING_RATE, fused=True)
    for _ in range(epochs):
        order = torch.from_numpy(np.stack([draw.permutation(inputs.shape[1]) for draw in draws]))[:, :, None]
        shuffled = torch.take_along_dim(inputs, order, dim=1), torch.take_along_dim(targets, order, dim=1)
        for rows, wanted in zip(*(torch.split(part, batch, dim=1) for part in shuffled), strict=True):
            stack.differentiate(rows, wanted, stack.masks(draw_uniform(mask_draw, rows.shape[1], stack.widths)))
            optimizer.step()
        on_epoch()


def draw_uniform(draw: np.random.Generator, rows: int, widths: Sequence[int]) -> list[Tensor]:
    """Uniform numbers (1, rows, width) for what goes into each layer."""
    return [torch.from_numpy(draw.random((1, rows, width), dtype=np.float32)) for width in widths[:-1]]


@torch.no_grad()
def sample(stack: Stack, rows: Tensor, passes: int, draws: Sequence[np.random.Generator]) -> Tensor:
    """Thinned networks' answers to (groups, rows, inputs): (passes, networks, rows); `draws` one a group."""
    answers = []
    for _ in range(passes):
        each = [draw_uniform(draw, rows.shape[1], stack.widths) for draw in draws]
        uniform = [torch.cat(layer).repeat_interleave(stack.members, dim=0) for layer in zip(*each, strict=True)]
        answers.append(stack.outputs(rows, stack.masks(uniform)))
    return torch.stack(answers)[..., 0]
