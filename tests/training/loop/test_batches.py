import pytest
import torch

from training.loop.batches import AT_ONCE, Tensors, batches, cut, fits
from training.loop.distributed import Ranks

CPU = torch.device("cpu")


def numbered(rows: int) -> Tensors:
    return torch.arange(rows * 2.0).reshape(rows, 2), torch.arange(rows)


@pytest.mark.parametrize("rows", [1, 63, 100, 4 * AT_ONCE, 4 * AT_ONCE + 1])
def test_one_process_sees_the_order_cut_into_batches(rows: int) -> None:
    order = torch.randperm(rows)
    found = list(batches(numbered(rows), order, 4, Ranks(), CPU))
    assert [batch.targets.tolist() for batch in found] == [part.tolist() for part in cut(order, 4)]
    assert all(torch.equal(batch.inputs[:, 0], 2.0 * batch.targets) for batch in found)
    assert all(batch.rows == batch.of == len(batch.targets) for batch in found)


@pytest.mark.parametrize(("rows", "size"), [(100, 7), (9, 8), (4 * AT_ONCE + 1, 4), (5, 2)])
@pytest.mark.parametrize("processes", [2, 3])
def test_the_parts_of_all_processes_are_the_batch(rows: int, size: int, processes: int) -> None:
    order = torch.randperm(rows)
    parts = [list(batches(numbered(rows), order, size, Ranks(rank, processes), CPU)) for rank in range(processes)]
    for whole, *own in zip(cut(order, size), *parts, strict=True):
        seen = torch.cat([batch.targets[: batch.rows] for batch in own])
        assert sorted(seen.tolist()) == sorted(whole.tolist())
        assert all(len(batch.targets) >= 2 and batch.of == len(whole) for batch in own)


@pytest.mark.parametrize(
    ("rows", "size", "lengths"),
    [(9, 4, [4, 5]), (10, 4, [4, 4, 2]), (8, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 1, 1]), (5, 2, [2, 3])],
)
def test_a_row_that_is_left_over_goes_with_the_batch_before(rows: int, size: int, lengths: list[int]) -> None:
    found = cut(torch.arange(rows), size)
    assert [len(batch) for batch in found] == lengths
    assert torch.cat(found).tolist() == list(range(rows))


def test_data_may_take_half_of_the_free_memory() -> None:
    rows = numbered(100)  # 8 bytes of inputs and 8 of the class, each
    assert fits(rows, 3200)
    assert not fits(rows, 3199)
