"""The torch side of sampling: the same network, with masks from outside in the place of its random draws.

Every dropout of torch draws its noise on the CPU with `Tensor.bernoulli_`, attention included, so the draws
can be seen, counted and replaced as they are dispatched, in order of execution.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from training.errors import TrainingError

BERNOULLI = "aten.bernoulli_.float"
DROPPING = {"torch.nn.modules.dropout", "torch.nn.modules.rnn", "torch.nn.modules.transformer"}
"""Where torch defines the layers that drop units in training mode, besides multi-head attention."""


@dataclass(frozen=True)
class Draw:
    """A random draw of a forward pass: the operator, the probability of a one, the shape of the noise."""

    operator: str
    keep: float
    shape: tuple[int, ...]


def sampling_copy(module: nn.Module) -> nn.Module:
    """A copy on the CPU whose dropout is active and everything else as in evaluation.

    torch's own layers other than dropout are in evaluation mode: BatchNorm, for one, must neither use nor
    move its batch's statistics. Modules of other origin are in training mode, for they may pass their mode
    on to functional dropout.
    """
    network = copy.deepcopy(module).cpu()
    for part in network.modules():
        part.training = _may_drop(part)
    return network


def _may_drop(part: nn.Module) -> bool:
    if isinstance(part, nn.modules.batchnorm._NormBase):
        return False
    home = type(part).__module__
    return home in DROPPING or isinstance(part, nn.MultiheadAttention) or not home.startswith("torch.")


def random_draws(network: nn.Module, inputs: Sequence[Tensor]) -> tuple[Draw, ...]:
    """What one forward pass draws, in order of execution."""
    draws = _Draws()
    with torch.no_grad(), torch.random.fork_rng(devices=[]), draws:
        network(*inputs)
    return tuple(draws.seen)


def run_with_noise(network: nn.Module, inputs: Sequence[Tensor], noise: Sequence[Tensor]) -> Tensor:
    """One forward pass with `noise` (0 or 1, of any shape with the right number of elements) in place of its draws.

    Raises TrainingError when it does not fit what the network draws.
    """
    draws = _Draws(iter(noise))
    with torch.no_grad(), draws:
        output: Tensor = network(*inputs)
    if len(draws.seen) != len(noise):
        raise TrainingError(f"the network draws {len(draws.seen)} times, {len(noise)} masks are given")
    return output


class _Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every random draw, and replaces it when there is noise to replace it with."""

    def __init__(self, noise: Iterator[Tensor] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.noise = noise
        self.seen: list[Draw] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = str(func)
        if name != BERNOULLI:  # not by operators' tags: these name many that are random in other modes only
            before = torch.get_rng_state()
            result = func(*args, **(kwargs or {}))
            if not torch.equal(before, torch.get_rng_state()):
                self.seen.append(Draw(name, 0.0, ()))
            return result
        target, keep = args[0], args[1] if len(args) > 1 else 0.5
        self.seen.append(Draw(name, keep, tuple(target.shape)))
        if self.noise is None:
            return func(*args, **(kwargs or {}))
        noise = next(self.noise, None)
        if noise is None or noise.numel() != target.numel():
            given = "nothing" if noise is None else f"{tuple(noise.shape)}"
            raise TrainingError(f"draw {len(self.seen)} wants noise of {tuple(target.shape)}, and {given} is given")
        return target.copy_(noise.reshape(target.shape))
