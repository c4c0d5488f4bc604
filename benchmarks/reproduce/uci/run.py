"""Run all splits of a study on several processes of one thread each, as the arrays are too small to share."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from benchmarks.reproduce.uci.experiment import Result, Study, choose, judge
from benchmarks.reproduce.uci.protocol import RATES, TAU_FACTORS, TAUS

NETWORKS_AT_ONCE = 20
"""More would exceed the processor's cache, fewer spend the time in calls."""

_epochs: Any = None
"""Epochs done by all processes, set in each of them."""


def run(study: Study, workers: int, on_progress: Callable[[str, int, int], None]) -> list[Result]:
    """Return each split's result, in the order of the splits.

    `on_progress` is called with a step, its epochs done and their total. The distribution over processes changes no
    number beyond rounding.
    """
    with _pool(workers) as (pool, counter):
        groups = list(_groups(study))
        fits = len(groups) * (1 if study.table.name in TAUS else 2)
        choosing = [pool.submit(choose, study, group, _count) for group in groups]
        _watch(choosing, counter, partial(on_progress, "choosing p and τ"), fits * study.epochs)
        choices = [choice for future in choosing for choice in future.result()]
        dealt = [choices[worker::workers] for worker in range(min(workers, study.splits))]
        judging = [pool.submit(judge, study, part, _count) for part in dealt]
        _watch(judging, counter, partial(on_progress, "training and testing"), len(dealt) * study.epochs)
        results = [result for future in judging for result in future.result()]
    return sorted(results, key=lambda result: result.choice.split)


def _groups(study: Study) -> Iterator[range]:
    """Yield the splits whose grids are trained side by side."""
    grid = len(RATES) * (1 if study.merge_taus else len(TAU_FACTORS))
    together = max(1, NETWORKS_AT_ONCE // grid)
    for first in range(0, study.splits, together):
        yield range(first, min(first + together, study.splits))


@contextmanager
def _pool(workers: int) -> Iterator[tuple[ProcessPoolExecutor, Any]]:
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    counter = context.Value("q", 0)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(counter,)) as pool:
        try:
            yield pool, counter
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start(counter: Any) -> None:
    global _epochs
    _epochs = counter
    torch.set_num_threads(1)


def _count() -> None:
    with _epochs.get_lock():
        _epochs.value += 1


def _watch(
    futures: Sequence[Future[Any]],
    counter: Any,
    on_progress: Callable[[int, int], None],
    epochs: int,
) -> None:
    """Report progress until all are done, or one has failed."""
    before = counter.value
    waiting = set(futures)
    while waiting and not any(future.done() and future.exception() for future in futures):
        waiting = wait(waiting, timeout=0.5).not_done
        on_progress(counter.value - before, epochs)
