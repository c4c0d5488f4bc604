"""Rows → the batches of an epoch, on the device that trains."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from training.loop.distributed import Ranks

T = TypeVar("T")
Tensors = tuple[Tensor, Tensor]
"""Inputs (rows, …) and the classes (rows,), or of a regression standardised values (rows, 1)."""

AT_ONCE, AT_ONCE_BYTES = 64, 32 * 2**20
"""Batches that are gathered together, at most, and the bytes of their inputs: gathering costs more by the call than by
the row, and two sets of them are in memory at once.
"""
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
    every, together = cut(order, size), gathered_together(rows[0], size)
    chosen = [_chosen(every[start : start + together], ranks) for start in range(0, len(every), together)]
    picks = (torch.cat([picked for picked, _, _ in one]) for one in chosen)
    found = _gathered(rows, picks) if rows[0].device.type == device.type else _copied(rows, picks, device)
    for (inputs, targets), one in zip(found, chosen, strict=True):
        picked, counted, of = zip(*one, strict=True)
        lengths = [len(part) for part in picked]
        yield from map(Batch, torch.split(inputs, lengths), torch.split(targets, lengths), counted, of)


def gathered_together(inputs: Tensor, size: int) -> int:
    """Return how many batches of so many rows are gathered at once, at least one."""
    bytes_of_batch = size * max(1, inputs[:1].nbytes)
    return max(1, min(AT_ONCE, AT_ONCE_BYTES // bytes_of_batch))


def _chosen(whole: list[Tensor], ranks: Ranks) -> list[tuple[Tensor, int, int]]:
    """Of each batch the rows that are here, how many of them count, and how many the batch has."""
    own = [share(batch, ranks) for batch in whole]
    return [(part if len(part) else batch[:2], len(part), len(batch)) for part, batch in zip(own, whole, strict=True)]


def _gathered(rows: Tensors, picks: Iterable[Tensor]) -> Iterator[Tensors]:
    """The rows that are picked, set by set, where they lie."""
    for picked in picks:
        index = picked.to(rows[0].device)
        yield rows[0].index_select(0, index), rows[1].index_select(0, index)


def _copied(rows: Tensors, picks: Iterable[Tensor], device: torch.device) -> Iterator[Tensors]:
    """The rows that are picked, set by set, on the device. Each set is copied while the one before is computed on.

    The stream that computes waits for the copies, whose memory is not given away before it is done with them.
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
    """Each set's copies, from memory that is not paged and on a stream of their own, and what tells their end."""
    streams = torch.get_device_module(device)
    aside = streams.Stream(device)
    for picked in picks:
        host = _pinned(rows[0], picked), _pinned(rows[1], picked)
        with streams.stream(aside):
            copies = host[0].to(device, non_blocking=True), host[1].to(device, non_blocking=True)
        yield copies, aside.record_event()


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """Each item, when the next one is there already."""
    before: list[T] = []
    for item in items:
        yield from before
        before = [item]
    yield from before


def _pinned(part: Tensor, picked: Tensor) -> Tensor:
    found = torch.empty((len(picked), *part.shape[1:]), dtype=part.dtype, pin_memory=True)
    return torch.index_select(part, 0, picked, out=found)


def near(rows: Tensors, device: torch.device) -> Tensors:
    """On the device if they fit, else where they are."""
    if device.type in ("cuda", "xpu") and not fits(rows, torch.get_device_module(device).mem_get_info(device)[0]):
        return rows
    return rows[0].to(device), rows[1].to(device)


def fits(rows: Tensors, free: int) -> bool:
    """Whether they leave enough of so many bytes."""
    return sum(part.nbytes for part in rows) <= MOST * free
