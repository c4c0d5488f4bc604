"""Where a network is trained, in which precision, and what a device's failures say in words."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, cast

import torch
from torch import nn

from training.config import TrainConfig
from training.errors import TrainingError

COMPILERS = ("torch._dynamo", "torch._inductor")
"""Modules whose errors are those of torch.compile."""


def choose_device(name: str, local: int | None = None) -> torch.device:
    """`auto` is CUDA when there is some, else Apple's MPS, else the CPU; raises TrainingError for one not there.

    `local` is the number of this process where several train together on this machine: each takes a GPU.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if local is not None:
        available["mps"] = False
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    device = torch.device(name)
    if not available[device.type]:
        raise TrainingError(f"device: this machine, or this build of torch, has no {device.type}; use cpu or auto")
    if device.type != "cuda":
        return device
    if local is not None and device.index is not None:
        raise TrainingError(f"device: {name} is one GPU, and several processes take one each; use cuda")
    device = device if local is None else torch.device("cuda", local)
    if (device.index or 0) >= torch.cuda.device_count():
        raise TrainingError(f"device: there is no {device}; the last one is cuda:{torch.cuda.device_count() - 1}")
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Of the products in training; `auto` is bfloat16 on GPUs that compute with it, else float32."""
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        name = "bfloat16" if fast else "float32"
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[name]


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """In which a network computes its products in this precision; its weights stay in float32."""
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)


def compiled(network: nn.Module, how: Literal["off", "on"]) -> nn.Module:
    """What computes the same faster, on the same weights, whose names stay those of the network."""
    return cast("nn.Module", torch.compile(network)) if how == "on" else network


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on the device, the weights of its convolutions with channels last but where the device is Apple's.

    On a CPU LeNet's step takes 0.7 of the time then.
    """
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # for what torch allocates without being told where
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and device.type != "mps":
            layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device)


def random_states(device: torch.device) -> list[torch.Tensor]:
    """Of torch's generators on the CPU and, where that is another one, on the device."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def restore_random(states: list[torch.Tensor], device: torch.device) -> None:
    """A run may go on where there is no such device, or on one that it did not begin on."""
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


@contextmanager
def told_plainly(config: TrainConfig) -> Iterator[None]:
    """Memory that is too small, a compiler that fails, and batches of one row, in words: as TrainingError."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise TrainingError(
            f"batch_size: is {config.batch_size}, and the network has BatchNorm, which needs two rows a step or more"
        ) from error
    except (MemoryError, RuntimeError) as error:
        if type(error).__module__.startswith(COMPILERS):
            reason = next(line for line in reversed(str(error).splitlines()) if line.strip())
            raise TrainingError(
                f"compile: torch cannot compile this network here: {reason}; --compile off trains without"
            ) from error
        # torch has a type for it on CUDA only
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise TrainingError(
            f"the memory of {config.device} is too small for this network and data; a batch_size below"
            f" {config.batch_size}, fewer hidden units, or another device may help"
        ) from error
