"""The device and precision of training, and the explanation of a device's errors."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, cast

import torch
from torch import nn

from training.config import DEVICE, DEVICES, TrainConfig
from training.errors import TrainingError

COMPILERS = ("torch._dynamo", "torch._inductor")
"""Modules whose errors are those of torch.compile."""
ALONE = "mps"
"""The kind of device that only one process can use."""
OUT_OF_MEMORY = re.compile(
    r"out of memory|allocate memory|not enough memory|ALLOC(ATION)?_FAILED|Invalid buffer size"
    r"|Storage size calculation overflowed|Overflow when unpacking",
    re.IGNORECASE,
)
"""Messages of torch, CUDA, cuBLAS, cuDNN, NCCL and MPS on insufficient memory; only torch's CUDA allocator has an error
type.
"""


def choose_device(name: str, local: int | None = None) -> torch.device:
    """Return the device of that name; raise TrainingError for one that does not exist.

    `gpu` is the accelerator that torch finds, of any kind, and `auto` the same or else the CPU. `local` is the rank of
    this process among several on this machine: each takes a GPU.
    """
    if not re.fullmatch(DEVICE, name):
        raise TrainingError(f"device: expected {DEVICES}; found {name!r}")
    found = accelerator(shared=local is not None)
    kind, _, index = name.partition(":")
    if kind == "cpu" or (kind == "auto" and not found):
        return torch.device("cpu")
    if not found or kind not in ("auto", "gpu", found):
        wanted = "GPU" if kind == "gpu" else kind
        raise TrainingError(f"device: there is no {wanted} here: {what_torch_finds()}; use {found or 'cpu'} or auto")
    if local is not None and index:
        raise TrainingError(f"device: {name} is one GPU, and several processes take one each; use {kind}")
    number = local if local is not None else int(index) if index else None
    if number is None:
        return torch.device(found)
    if number >= (count := torch.accelerator.device_count()):
        raise TrainingError(f"device: there is no {found}:{number}; the last one is {found}:{count - 1}")
    return torch.device(found, number)


def accelerator(*, shared: bool) -> str:
    """Return the kind of accelerator that torch finds; "" without one, or if `shared` where several processes cannot
    use it.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    return "" if found is None or (shared and found.type == ALONE) else found.type


def what_torch_finds() -> str:
    """Return a description of this build's accelerators, and of those present."""
    built = torch.accelerator.current_accelerator()
    if built is None:
        return f"torch {torch.__version__} is a build for the CPU alone"
    found = f"{torch.accelerator.device_count()} of them" if torch.accelerator.is_available() else "none"
    return f"torch {torch.__version__} is a build for {built.type}, and finds {found}"


def describe(device: torch.device, precision: torch.dtype) -> str:
    """Return device and precision of training: «cuda:0 (NVIDIA H200, 139.8 GiB), bfloat16»."""
    about = ""
    if device.type not in ("cpu", ALONE):
        card = torch.get_device_module(device).get_device_properties(device)
        about = f" ({card.name}, {card.total_memory / 2**30:.1f} GiB)"
    elif device.type == "cpu" and torch.accelerator.current_accelerator():
        about = f" ({what_torch_finds()})"  # such as a container without access to the GPU
    return f"{device}{about}, {named(precision)}"


def named(precision: torch.dtype) -> str:
    """Return the precision's name in settings, such as float32."""
    return str(precision).removeprefix("torch.")


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type of products in training; `auto` is bfloat16 on GPUs that compute with it, else float32."""
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        name = "bfloat16" if fast else "float32"
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[name]


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Return a context in which a network computes its products in this precision; its weights stay in float32."""
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)


def compiled(network: nn.Module, how: Literal["off", "on"]) -> nn.Module:
    """Return the network, compiled if `how` is "on"; it shares the weights and their names."""
    return cast("nn.Module", torch.compile(network)) if how == "on" else network


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """Return the network on the device, with channels last in its convolutions except on Apple's GPU.

    On a CPU this takes 0.7 of the time of LeNet's step.
    """
    if device.index is not None:
        torch.accelerator.set_device_index(device.index)  # for allocations of torch without a named device
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and device.type != "mps":
            layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device)


def random_states(device: torch.device) -> list[torch.Tensor]:
    """Return the states of torch's generators on the CPU and, where the device has its own, on the device."""
    own = [] if device.type in ("cpu", ALONE) else [torch.get_device_module(device).get_rng_state(device)]
    return [torch.get_rng_state(), *own]


def restore_random(states: list[torch.Tensor], device: torch.device) -> None:
    """Restore the states; a run may be resumed without that device, or on another one than it began on."""
    torch.set_rng_state(states[0])
    if device.type not in ("cpu", ALONE) and len(states) > 1:
        torch.get_device_module(device).set_rng_state(states[1], device)


@contextmanager
def ieee_float32() -> Iterator[None]:
    """Have cuDNN compute float32 in full precision: by default it rounds factors to the 10 bits of TF32."""
    cudnn: Any = torch.backends.cudnn  # its stubs lack these settings
    before = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    try:
        cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = "ieee"
        yield
    finally:
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = before


def out_of_memory(error: Exception) -> bool:
    """Return whether the error reports insufficient memory, of the host or of a device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(OUT_OF_MEMORY.search(str(error)))


@contextmanager
def explained(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Raise a TrainingError for insufficient memory, a failing compiler, and batches of one row."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise TrainingError(
            f"batch_size: is {config.batch_size}, and the network has BatchNorm, which needs two rows a step or more"
        ) from error
    except (MemoryError, RuntimeError, TypeError) as error:
        if type(error).__module__.startswith(COMPILERS):
            reason = next(line for line in str(error).splitlines() if line.strip() and not line.endswith("raised:"))
            raise TrainingError(
                f"compile: torch cannot compile this network here: {reason}; --compile off trains without"
            ) from error
        if not out_of_memory(error):
            raise
        raise TrainingError(
            f"the memory of {device} is too small for this network and data; --batch-size below {config.batch_size},"
            " fewer units (--hidden), or another --device may help"
        ) from error
