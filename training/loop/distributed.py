"""Several processes that train one network together, as `torchrun` starts them.

Each has the whole data, takes its part of every batch, and adds its gradients to those of the others. The first
one speaks, writes and publishes for all.
"""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from training.errors import TrainingError
from training.networks.device import accelerator

T = TypeVar("T")

ENDED_BY = "dropserve/ended_by"
"""Under which the process that fails first leaves its number."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """The number of a process among so many."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def local(self) -> int | None:
        """Its number among those on this machine; None where it is alone."""
        return int(os.environ.get("LOCAL_RANK", self.rank)) if self.size > 1 else None

    def seed(self, seed: int) -> int:
        """Of what each process draws by itself; the first one's is that of a process that is alone.

        The others' are not near it: seed + 1 is what the first process of another run may have.
        """
        if self.first:
            return seed
        return int(np.random.SeedSequence([seed, self.rank]).generate_state(1, np.uint64)[0])

    def together(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network, whose gradients become the mean of all processes'; it starts with the first one's weights."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, device_ids=None if device.type == "cpu" else [device])

    def summed(self, value: Tensor) -> Tensor:
        """Over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def of_first(self, value: T) -> T:
        """What the first process has."""
        shared = [value]
        if self.size > 1:
            distributed.broadcast_object_list(shared, src=0)
        return shared[0]

    def of_all(self, value: T) -> list[T]:
        """What each process has."""
        if self.size == 1:
            return [value]
        found: list[T] = [value] * self.size
        distributed.all_gather_object(found, value)
        return found


def ranks() -> Ranks:
    """Those among which this process is, once it has joined them."""
    if not distributed.is_initialized():
        return Ranks()
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def backends() -> str:
    """Return what joins tensors on the CPU, gloo, and what joins those on GPUs where there are any, such as NCCL.

    They are named because what torch takes by itself depends on its version: some builds for CUDA take NCCL where
    there is no GPU, and where there is one NCCL alone, which cannot train on the CPU.
    """
    if not (kind := accelerator(shared=True)):
        return "cpu:gloo"
    usual = distributed.get_default_backend_for_device(kind)
    return f"cpu:gloo,{kind}:{usual if distributed.is_backend_available(usual) else 'gloo'}"


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes, whom the environment names.

    When one of them fails, that one says why, and the others end without a word. Raises TrainingError.
    """
    try:
        store, rank, size = next(iter(rendezvous("env://")))
        distributed.init_process_group(backends(), store=store, rank=rank, world_size=size)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"the other processes were not met: {error}") from None
    try:
        yield
    except BaseException:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # torchrun may send it once more, while we say what happened
        if store.compare_set(ENDED_BY, "", str(rank)) != str(rank).encode():
            raise SystemExit(1) from None
        raise
    gc.collect()  # DistributedDataParallel holds the group in a cycle, which must not outlive the interpreter
    distributed.destroy_process_group()
