"""Measure whether the time to check a key reveals its place among the keys, or how much of it is right."""

import random
from contextlib import suppress
from statistics import median
from time import perf_counter_ns

from service.access.keys import Access, make_key
from service.errors import Unauthenticated

KEYS = 50
REPEATS = 20
BOUND = 0.2
"""The largest spread, as a share of the median; trying key by key up to the right one would exceed it by far."""


def spread_of_medians(trials: int, seed: int = 0) -> float:
    """Return the spread of the medians of two kinds of keys with one answer, as a share of the smaller one.

    It is the larger one of known keys, the first and the last, and of unknown ones, nearly right and all wrong.
    """
    secrets, keys = zip(*(make_key(f"k{i}", "infer") for i in range(KEYS)), strict=True)
    access = Access(keys)
    first, last = secrets[0], secrets[-1]
    nearly = first[:-1] + ("0" if first[-1] != "0" else "1")
    times: dict[str, list[int]] = {secret: [] for secret in (first, last, nearly, "x" * len(first))}
    rng = random.Random(seed)
    order = list(times)
    for _ in range(trials // len(times)):
        rng.shuffle(order)
        for secret in order:
            started = perf_counter_ns()
            for _ in range(REPEATS):
                with suppress(Unauthenticated):
                    access.check("infer", secret)
            times[secret].append(perf_counter_ns() - started)
    medians = [median(taken) for taken in times.values()]
    return max(max(pair) / min(pair) - 1 for pair in (medians[:2], medians[2:]))
