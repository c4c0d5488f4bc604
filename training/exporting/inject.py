"""Run a torch network with given masks in place of its random draws.

Every dropout of torch draws its mask on the CPU with `Tensor.bernoulli_`, attention included, so the draws can be
recorded and replaced as they are dispatched, in order of execution.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from training.errors import CannotExport, TrainingError

BERNOULLI = "aten.bernoulli_.float"
OWN_GENERATOR = " and a generator of its own"
"""The end of a draw's name that used its own generator."""
MISSING = torch.empty(0)
"""The mask after the last."""
DROPPING = {"torch.nn.modules.dropout", "torch.nn.modules.rnn", "torch.nn.modules.transformer"}
"""Modules of torch that define layers with dropout, beside multi-head attention."""


@dataclass(frozen=True)
class Draw:
    """A random draw of a forward pass: the operator, the probability of a one, the shape of the mask.

    `module` is the path of the module that draws, empty for the network itself and for a file's.
    """

    operator: str
    keep: float
    shape: tuple[int, ...]
    module: str = ""


def sampling_copy(module: nn.Module) -> nn.Module:
    """Return a copy on the CPU with active dropout and everything else as in evaluation.

    torch's own layers other than dropout are in evaluation mode: BatchNorm, for one, must neither use nor update its
    batch's statistics. Other modules are in training mode, as they may pass it on to functional dropout. Raises
    CannotExport for a module that cannot be copied.
    """
    try:
        network = copy.deepcopy(module).cpu()
    except Exception as error:  # the module's own attributes may raise anything
        first = str(error).partition("\n")[0]
        raise CannotExport(f"module: cannot be copied: {type(error).__name__}: {first}") from error
    for part in network.modules():
        part.training = _may_drop(part)
    return network


def evaluation_copy(network: nn.Module) -> nn.Module:
    """Return a copy without dropout of a copy, whose weights it shares."""
    return copy.deepcopy(network, {id(weights): weights for weights in network.parameters()}).eval()


def _may_drop(part: nn.Module) -> bool:
    if isinstance(part, nn.modules.batchnorm._NormBase):
        return False
    home = type(part).__module__
    return home in DROPPING or isinstance(part, nn.MultiheadAttention) or not home.startswith("torch.")


def random_draws(network: nn.Module, inputs: Sequence[Tensor]) -> tuple[Draw, ...]:
    """Return the draws of one forward pass, in order of execution."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]), _running_module(network) as module:
        draws = _Draws(module=module)
        with draws:
            network(*inputs)
    return tuple(draws.seen)


def run_with_masks(network: nn.Module, inputs: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
    """Run one forward pass with `masks` (0 or 1, with as many elements as the draw) in place of its draws.

    A mask of None keeps all units as they are: it is the probability to keep, by which dropout divides.
    Raises TrainingError when the masks do not fit the draws.
    """
    draws = _Draws(iter(masks))
    with torch.no_grad(), draws:
        output: Tensor = network(*inputs)
    if len(draws.seen) != len(masks):
        raise TrainingError(f"the network draws {len(draws.seen)} times, {len(masks)} masks are given")
    return output


@contextmanager
def _running_module(network: nn.Module) -> Iterator[Callable[[], str]]:
    """Return a function that gives the path of the innermost running module."""
    running = [""]
    hooks = []
    for name, part in network.named_modules():
        if name:
            hooks.append(part.register_forward_pre_hook(partial(_enter, running, name)))
            hooks.append(part.register_forward_hook(partial(_leave, running), always_call=True))
    try:
        yield lambda: running[-1]
    finally:
        for hook in hooks:
            hook.remove()


def _enter(running: list[str], name: str, *_: object) -> None:
    running.append(name)


def _leave(running: list[str], *_: object) -> None:
    running.pop()


class _Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record every random draw, and replace it by a mask if there are masks."""

    def __init__(self, masks: Iterator[Tensor | None] | None = None, module: Callable[[], str] = str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.masks = masks
        self.module = module
        self.seen: list[Draw] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = str(func)
        if (kwargs or {}).get("generator") is not None:
            self.seen.append(Draw(f"{name}{OWN_GENERATOR}", 0.0, (), self.module()))
            return func(*args, **(kwargs or {}))
        if name != BERNOULLI:  # operators' tags would include those that are random in other modes only
            before = torch.get_rng_state()
            result = func(*args, **(kwargs or {}))
            if not torch.equal(before, torch.get_rng_state()):
                self.seen.append(Draw(name, 0.0, (), self.module()))
            return result
        target, keep = args[0], args[1] if len(args) > 1 else 0.5
        self.seen.append(Draw(name, keep, tuple(target.shape), self.module()))
        if self.masks is None:
            return func(*args, **(kwargs or {}))
        mask = next(self.masks, MISSING)
        if mask is None:
            return target.fill_(keep)
        if mask.numel() != target.numel():
            given = "nothing" if mask is MISSING else f"{tuple(mask.shape)}"
            raise TrainingError(f"draw {len(self.seen)} needs a mask of {tuple(target.shape)}, found {given}")
        return target.copy_(mask.reshape(target.shape))
