"""The measurements; each function yields (size, seconds)."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from benchmarks.sampling.networks import mlp
from benchmarks.sampling.torch_network import build
from benchmarks.serving.contenders import Request
from benchmarks.serving.failures import NotRun
from benchmarks.serving.load import put, write_requests
from benchmarks.serving.servers import dropserve, free_port, started
from service import load_model
from service.engine.engine import Engine
from service.engine.inputs import Inputs
from service.engine.masks import MaskCache
from service.engine.sampling import Sampling
from training import publish_module

Points = Iterator[tuple[int, float]]

MASK_BYTES = 2**28
PASSES = 100
REPEATS = 7
TURN_SECONDS = 0.1
LOAD_SECONDS = 5


def passes(model: Path, _: Path, sizes: Sequence[int]) -> Points:
    """Yield the time of one row with each number of samples."""
    engine = _load(model)
    for size in sizes:
        yield size, _sample_seconds(engine, 1, size)


def rows(model: Path, _: Path, sizes: Sequence[int]) -> Points:
    """Yield the time of each number of rows with 100 samples."""
    engine = _load(model)
    for size in sizes:
        yield size, _sample_seconds(engine, size)


def width(_model: Path, scratch: Path, sizes: Sequence[int]) -> Points:
    """Yield the time of one row with 100 samples of networks 64-width-width-10."""
    shutil.rmtree(scratch / "widths", ignore_errors=True)
    for size in sizes:
        network, example = build(mlp(64, size, size, 10)), torch.randn(8, 64)
        labels = [str(label) for label in range(10)]
        folder, _ = publish_module(network, (example,), name=f"width-{size}", models=scratch / "widths", labels=labels)
        yield size, _sample_seconds(_load(folder), 1)


def models(model: Path, _: Path, sizes: Sequence[int]) -> Points:
    """Yield the time of one row with 100 samples for each of several models in turn, which share a mask cache."""
    masks = MaskCache(MASK_BYTES)
    calls: list[Callable[[], object]] = []
    for size in sizes:
        calls += [_call(load_model(model, masks), 1) for _ in range(size - len(calls))]
        yield size, _seconds(_all_in_turn(calls)) / size


def connections(model: Path, scratch: Path, sizes: Sequence[int]) -> Points:
    """Yield the mean time of a deterministic answer to one row over HTTP, with each number of busy connections.

    Raises NotRun if a request fails.
    """
    engine, port, requests = _load(model), free_port(), scratch / "requests"
    path = f"/v1/models/{engine.manifest.name}/versions/{engine.manifest.version}/predict"
    body = {"inputs": {name: array.tolist() for name, array in _rows(engine, 1).items()}}
    request = Request(json.dumps(body).encode())
    scratch.mkdir(parents=True, exist_ok=True)
    write_requests(requests, port, path, [request])
    with started(dropserve(model.parent.parent, port), {}, port, path, request):
        for size in sizes:
            load = put(port, requests, size, LOAD_SECONDS)
            if load.refused or load.broken:
                raise NotRun(f"{size} connections: {load.refused} requests were refused, {load.broken} broken")
            yield size, size / load.per_second  # Little's law


def _load(folder: Path) -> Engine:
    return load_model(folder, MaskCache(MASK_BYTES))


def _rows(engine: Engine, count: int) -> Inputs:
    return {name: np.resize(array, (count, *array.shape[1:])) for name, array in engine.examples.items()}


def _sample_seconds(engine: Engine, row_count: int, passes: int = PASSES) -> float:
    return _seconds(_call(engine, row_count, passes))


def _call(engine: Engine, row_count: int, passes: int = PASSES) -> Callable[[], object]:
    inputs, sampling = _rows(engine, row_count), Sampling(passes=passes, seed=0)
    return lambda: engine.sample(inputs, sampling)


def _all_in_turn(calls: Sequence[Callable[[], object]]) -> Callable[[], object]:
    return lambda: [call() for call in calls]


def _seconds(work: Callable[[], object]) -> float:
    """Return the median of turns, each the mean of as many calls as fill it, without the first call, which
    allocates.
    """
    work()
    start = perf_counter()
    work()
    calls = max(1, int(TURN_SECONDS / (perf_counter() - start)))
    return median(_turn(work, calls) for _ in range(REPEATS))


def _turn(work: Callable[[], object], calls: int) -> float:
    start = perf_counter()
    for _ in range(calls):
        work()
    return (perf_counter() - start) / calls
