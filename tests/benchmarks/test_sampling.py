"""Cells → ratios → goals."""

import pytest

from benchmarks.sampling.cells import Cell
from benchmarks.sampling.contenders import (
    CONTENDERS,
    LARGE_PRODUCT,
    LAYER_PRODUCTS,
    NEW_SEED,
    ONE_PASS,
    SAME_SEED,
    TORCH_LOOP,
    Contender,
)
from benchmarks.sampling.networks import LARGE
from benchmarks.sampling.report import judge

FASTEST = next(contender for contender in CONTENDERS if contender.label == "onnxruntime, repeated rows")
SECONDS = {
    SAME_SEED: 0.5,
    NEW_SEED: 1.0,
    TORCH_LOOP: 16.0,
    FASTEST: 2.0,
    ONE_PASS: 0.01,
    LAYER_PRODUCTS: 0.4,
    LARGE_PRODUCT: 8.0,
}


def cell(rows: int, seconds: dict[Contender, float]) -> Cell:
    """The median of each contender's turns is its seconds; their mean is not. Its work is 1/32 of a large product."""
    turns = {contender: [middle / 2, 9 * middle, middle] for contender, middle in seconds.items()}
    return Cell("net", rows, 1, 100, LARGE**3 // 32, turns, {}, 0.0, {})


def test_ratios_are_of_medians() -> None:
    assert cell(1, SECONDS).ratios == pytest.approx(
        {
            "ours / layer products": 1.25,
            "ours / large product": 2.0,
            "best peer / ours": 4.0,
            "torch loop / ours": 32.0,
            "best peer / ours, new seed": 2.0,
            "torch loop / ours, new seed": 16.0,
        }
    )


def test_neither_references_nor_dropserve_are_peers() -> None:
    assert cell(1, SECONDS).best_peer == FASTEST
    absent = {contender: seconds for contender, seconds in SECONDS.items() if contender not in (FASTEST, TORCH_LOOP)}
    assert cell(1, absent).best_peer is None
    assert set(cell(1, absent).ratios) == {"ours / layer products", "ours / large product"}


def test_the_worst_cell_is_told() -> None:
    slower = SECONDS | {SAME_SEED: 0.8, NEW_SEED: 4.0}
    judged = {goal["goal"]: goal for goal in judge([cell(1, SECONDS), cell(32, slower), cell(64, SECONDS)])}

    def shown(goal: str) -> tuple[object, ...]:
        return tuple(judged[goal][name] for name in ("worst", "where", "met", "cells"))

    slow = "net, 32 rows, 1 thread"
    assert shown("best peer / ours ≥ 3") == (2.5, slow, 2, 3)
    assert shown("torch loop / ours ≥ 20") == (20.0, slow, 3, 3)
    assert shown("best peer / ours, new seed ≥ 3") == (0.5, slow, 0, 3)
    assert shown("torch loop / ours, new seed ≥ 20") == (4.0, slow, 0, 3)
    assert shown("ours / layer products ≤ 1.3 from 32 rows on") == (2.0, slow, 1, 2)
    assert shown("ours / large product ≤ 1.3 from 32 rows on") == (pytest.approx(3.2), slow, 0, 2)


def test_goals_that_no_cell_speaks_of_are_left_out() -> None:
    alone = {contender: seconds for contender, seconds in SECONDS.items() if contender not in (FASTEST, TORCH_LOOP)}
    assert judge([cell(1, alone)]) == []
