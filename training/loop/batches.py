"""Split rows into the batches of an epoch, on the device that trains."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from training.loop.distributed import Ranks

T = TypeVar("T")
Tensors = tuple[Tensor, Tensor]
"""Inputs (rows, …) and class numbers (rows,), or for a regression standardised values (rows, 1)."""

AT_ONCE, AT_ONCE_BYTES = 64, 32 * 2**20
"""Batches that are gathered together at most, and the bytes of their inputs. The cost of gathering grows with the
number of calls more than with that of rows; two sets are in memory at once.
"""
MOST = 0.5
"""The share of a device's free memory that data may take; the rest is for the network and its computation."""


class Batch(NamedTuple):
    """The part of a batch that belongs to one of several processes."""

    inputs: Tensor
    """(rows, …)"""
    targets: Tensor
    """(rows,) or (rows, 1)"""
    rows: int
    """The number of the batch's rows in this part. For 0, rows of another process are in its place, which do
    not count.
    """
    of: int
    """The number of rows of the whole batch."""


def cut(order: Tensor, size: int) -> list[Tensor]:
    """Return batches of `size` row numbers. A last single row joins the batch before: BatchNorm needs two."""
    whole = list(torch.split(order, size))
    if size > 1 and len(whole) > 1 and len(whole[-1]) == 1:
        whole[-2:] = [torch.cat(whole[-2:])]
    return whole


def share(batch: Tensor, ranks: Ranks) -> Tensor:
    """Return the part of a batch of one process. Only some processes have a part of a small batch, so that none is one
    row.
    """
    dealt = min(ranks.size, max(1, len(batch) // 2))
    return batch[ranks.rank :: dealt] if ranks.rank < dealt else batch[:0]


def batches(rows: Tensors, order: Tensor, size: int, ranks: Ranks, device: torch.device) -> Iterator[Batch]:
    """Yield the batches of one pass over the rows in this order; all processes' parts are the batches of a single
    process.
    """
    every, together = cut(order, size), gathered_together(rows[0], size)
    chosen = [_chosen(every[start : start + together], ranks) for start in range(0, len(every), together)]
    picks = (torch.cat([picked for picked, _, _ in one]) for one in chosen)
    found = _gathered(rows, picks) if rows[0].device.type == device.type else _copied(rows, picks, device)
    for (inputs, targets), one in zip(found, chosen, strict=True):
        picked, counted, of = zip(*one, strict=True)
        lengths = [len(part) for part in picked]
        yield from map(Batch, torch.split(inputs, lengths), torch.split(targets, lengths), counted, of)


def gathered_together(inputs: Tensor, size: int) -> int:
    """Return how many batches of `size` rows are gathered at once, at least one."""
    bytes_of_batch = size * max(1, inputs[:1].nbytes)
    return max(1, min(AT_ONCE, AT_ONCE_BYTES // bytes_of_batch))


def _chosen(whole: list[Tensor], ranks: Ranks) -> list[tuple[Tensor, int, int]]:
    """Return for each batch the rows of this process, how many of them count, and the batch's number of rows."""
    own = [share(batch, ranks) for batch in whole]
    return [(part if len(part) else batch[:2], len(part), len(batch)) for part, batch in zip(own, whole, strict=True)]


def _gathered(rows: Tensors, picks: Iterable[Tensor]) -> Iterator[Tensors]:
    """Yield the rows of each pick, on their own device."""
    for picked in picks:
        index = picked.to(rows[0].device)
        yield rows[0].index_select(0, index), rows[1].index_select(0, index)


def _copied(rows: Tensors, picks: Iterable[Tensor], device: torch.device) -> Iterator[Tensors]:
    """Yield the rows of each pick, on the device; each set is copied during computation on the one before.

    The computing stream waits for the copies, and their memory is not reused before it is done with them.
    """
    streams = torch.get_device_module(device)
    for copies, end in one_ahead(_copies_begun(rows, picks, device)):
        computing = streams.current_stream(device)
        computing.wait_event(end)
        for copy in copies:
            copy.record_stream(computing)
        yield copies


def _copies_begun(
    rows: Tensors, picks: Iterable[Tensor], device: torch.device
) -> Iterator[tuple[Tensors, torch.Event]]:
    """Yield each set's copies, from pinned memory and on a stream of their own, with the event of their end."""
    streams = torch.get_device_module(device)
    aside = streams.Stream(device)
    for picked in picks:
        host = _pinned(rows[0], picked), _pinned(rows[1], picked)
        with streams.stream(aside):
            copies = host[0].to(device, non_blocking=True), host[1].to(device, non_blocking=True)
        yield copies, aside.record_event()


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield each item when the next one has been produced."""
    before: list[T] = []
    for item in items:
        yield from before
        before = [item]
    yield from before


def _pinned(part: Tensor, picked: Tensor) -> Tensor:
    found = torch.empty((len(picked), *part.shape[1:]), dtype=part.dtype, pin_memory=True)
    return torch.index_select(part, 0, picked, out=found)


def near(rows: Tensors, device: torch.device) -> Tensors:
    """Return the rows on the device if they fit, else where they are."""
    if device.type in ("cuda", "xpu") and not fits(rows, torch.get_device_module(device).mem_get_info(device)[0]):
        return rows
    return rows[0].to(device), rows[1].to(device)


def fits(rows: Tensors, free: int) -> bool:
    """Return whether the rows fit the share MOST of `free` bytes."""
    return sum(part.nbytes for part in rows) <= MOST * free
