"""Rows → the batches of an epoch, on the device that trains."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from training.distributed import Ranks

Tensors = tuple[Tensor, Tensor]
"""Inputs (rows, …) and the classes (rows,), or of a regression standardised values (rows, 1)."""

AT_ONCE = 64
"""Batches that are gathered together: gathering costs more by the call than by the row."""
MOST = 0.5
"""Of a device's free memory that data may take; the rest is for the network and what it computes."""


class Batch(NamedTuple):
    """What one of several processes has of a batch."""

    inputs: Tensor
    targets: Tensor
    rows: int
    """How many of the batch's rows are here. Where there are none, another process's stand in, not to count."""
    of: int
    """Rows of the whole batch."""


def cut(order: Tensor, size: int) -> list[Tensor]:
    """Into batches of that size. A single row that is left over goes with the last of them: BatchNorm needs two."""
    whole = list(torch.split(order, size))
    if size > 1 and len(whole) > 1 and len(whole[-1]) == 1:
        whole[-2:] = [torch.cat(whole[-2:])]
    return whole


def share(batch: Tensor, ranks: Ranks) -> Tensor:
    """What one process has of a batch. Of a small one not all have a part, so that nobody's is a single row."""
    dealt = min(ranks.size, max(1, len(batch) // 2))
    return batch[ranks.rank :: dealt] if ranks.rank < dealt else batch[:0]


def batches(rows: Tensors, order: Tensor, size: int, ranks: Ranks, device: torch.device) -> Iterator[Batch]:
    """One pass over the rows in this order; the parts of all processes are the batches of one that is alone."""
    every = cut(order, size)
    for start in range(0, len(every), AT_ONCE):
        whole = every[start : start + AT_ONCE]
        own = [share(batch, ranks) for batch in whole]
        picked = [part if len(part) else batch[:2] for part, batch in zip(own, whole, strict=True)]
        inputs, targets = (_gather(part, torch.cat(picked), device) for part in rows)
        lengths = [len(part) for part in picked]
        parts = torch.split(inputs, lengths), torch.split(targets, lengths)
        yield from map(Batch, *parts, map(len, own), map(len, whole))


def near(rows: Tensors, device: torch.device) -> Tensors:
    """On the device if they fit, else where they are."""
    if device.type == "cuda" and not fits(rows, torch.cuda.mem_get_info(device)[0]):
        return rows
    return rows[0].to(device), rows[1].to(device)


def fits(rows: Tensors, free: int) -> bool:
    """Whether they leave enough of so many bytes."""
    return sum(part.nbytes for part in rows) <= MOST * free


def _gather(part: Tensor, picked: Tensor, device: torch.device) -> Tensor:
    found = part.index_select(0, picked.to(part.device))
    return found if part.device.type == device.type else found.pin_memory().to(device, non_blocking=True)
