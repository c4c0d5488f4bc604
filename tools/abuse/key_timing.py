"""Measure whether the time to look up a key reveals its place or how much of it is right."""

import random
from statistics import median
from time import perf_counter_ns

from service.access.keys import Access, make_key

KEYS = 50
REPEATS = 20
BOUND = 0.2
"""The largest spread, as a share of the median; a comparison that ends early would exceed it by far."""


def spread_of_medians(trials: int, seed: int = 0) -> float:
    """Return the spread of the medians of four kinds of digest, as a share of the smallest; the kinds alternate."""
    keys = tuple(make_key(f"k{i}", "infer")[1] for i in range(KEYS))
    access = Access(keys)
    first, last = keys[0].digest, keys[-1].digest
    kinds = {"first": first, "last": last, "nearly": first[:-1] + ("0" if first[-1] != "0" else "1"), "none": "x" * 64}
    times: dict[str, list[int]] = {kind: [] for kind in kinds}
    rng = random.Random(seed)
    order = list(kinds)
    for _ in range(trials // len(kinds)):
        rng.shuffle(order)
        for kind in order:
            digest = kinds[kind]
            started = perf_counter_ns()
            for _ in range(REPEATS):
                access._find(digest)
            times[kind].append(perf_counter_ns() - started)
    medians = [median(taken) for taken in times.values()]
    return (max(medians) - min(medians)) / min(medians)
