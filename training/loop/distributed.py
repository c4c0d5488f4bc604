"""Several processes that train one network together, as `torchrun` starts them.

Each has the whole data and takes its part of every batch; gradients are averaged over all. Only the first one logs,
writes and publishes.
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
"""The key under which the first process to fail stores its rank."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """The rank of this process, and the number of processes."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def local(self) -> int | None:
        """The rank among the processes on this machine; None for a single process."""
        return int(os.environ.get("LOCAL_RANK", self.rank)) if self.size > 1 else None

    def seed(self, seed: int) -> int:
        """Return the seed of this process's own draws; the first one's is that of a single process.

        The others are far from it: seed + 1 may be that of the first process of another run.
        """
        if self.first:
            return seed
        return int(np.random.SeedSequence([seed, self.rank]).generate_state(1, np.uint64)[0])

    def together(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return the network wrapped to average gradients over all processes, with the first one's weights."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, device_ids=None if device.type == "cpu" else [device])

    def summed(self, value: Tensor) -> Tensor:
        """Return the sum over all processes, computed in place."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def of_first(self, value: T) -> T:
        """Return the value of the first process."""
        shared = [value]
        if self.size > 1:
            distributed.broadcast_object_list(shared, src=0)
        return shared[0]

    def of_all(self, value: T) -> list[T]:
        """Return the values of all processes."""
        if self.size == 1:
            return [value]
        found: list[T] = [value] * self.size
        distributed.all_gather_object(found, value)
        return found


def ranks() -> Ranks:
    """Return the rank of this process, and the number of processes, once it has joined them."""
    if not distributed.is_initialized():
        return Ranks()
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def backends() -> str:
    """Return the backends of torch.distributed: gloo for the CPU and, where there are GPUs, theirs, such as NCCL.

    They are named because torch's default depends on its version: some builds for CUDA choose NCCL without a GPU, and
    with one NCCL alone, which cannot train on the CPU.
    """
    if not (kind := accelerator(shared=True)):
        return "cpu:gloo"
    usual = distributed.get_default_backend_for_device(kind)
    return f"cpu:gloo,{kind}:{usual if distributed.is_backend_available(usual) else 'gloo'}"


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that the environment names.

    Only the first process to fail reports its error; the others end silently. Raises TrainingError.
    """
    try:
        store, rank, size = next(iter(rendezvous("env://")))
        distributed.init_process_group(backends(), store=store, rank=rank, world_size=size)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"the other processes cannot be joined: {error}") from None
    try:
        yield
    except BaseException:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # torchrun may send it again while the error is reported
        if store.compare_set(ENDED_BY, "", str(rank)) != str(rank).encode():
            raise SystemExit(1) from None
        raise
    gc.collect()  # DistributedDataParallel holds the group in a cycle, which must not outlive the interpreter
    distributed.destroy_process_group()
