"""What grows: each function yields (how much, seconds)."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from benchmarks.growth.serving import serving
from benchmarks.sampling.networks import mlp
from benchmarks.sampling.torch_network import build
from service.engine import Engine
from service.loading import load_model
from service.masks import MaskCache
from service.sampling import Sampling
from service.steps import Inputs
from training.release import publish_module

Points = Iterator[tuple[int, float]]

MASK_BYTES = 2**28
PASSES = 100
REPEATS = 7
TURN_SECONDS = 0.1
WRK_SECONDS = 5
POST = """wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = [==[%s]==]
"""


def passes(model: Path, _: Path, sizes: Sequence[int]) -> Points:
    """One row asked of so many networks."""
    engine = _load(model)
    for size in sizes:
        yield size, _sample_seconds(engine, 1, size)


def rows(model: Path, _: Path, sizes: Sequence[int]) -> Points:
    """So many rows asked of 100 networks."""
    engine = _load(model)
    for size in sizes:
        yield size, _sample_seconds(engine, size)


def width(_model: Path, scratch: Path, sizes: Sequence[int]) -> Points:
    """One row asked of 100 networks 64-width-width-10."""
    shutil.rmtree(scratch / "widths", ignore_errors=True)
    for size in sizes:
        network, example = build(mlp(64, size, size, 10)), torch.randn(8, 64)
        labels = [str(label) for label in range(10)]
        folder, _ = publish_module(network, (example,), name=f"width-{size}", models=scratch / "widths", labels=labels)
        yield size, _sample_seconds(_load(folder), 1)


def models(model: Path, _: Path, sizes: Sequence[int]) -> Points:
    """One row asked of 100 networks of one model after another, of so many that are loaded."""
    masks = MaskCache(MASK_BYTES)  # one for all, as the service has it
    loaded: list[Engine] = []
    for size in sizes:
        loaded += [load_model(model, masks) for _ in range(size - len(loaded))]
        yield size, _seconds(partial(_ask_each, loaded)) / size


def connections(model: Path, scratch: Path, sizes: Sequence[int]) -> Points:
    """Mean time of a deterministic answer to one row over HTTP, while so many connections ask without pause."""
    engine = _load(model)
    scratch.mkdir(parents=True, exist_ok=True)
    script = scratch / "post.lua"
    body = {"inputs": {name: array.tolist() for name, array in _rows(engine, 1).items()}}
    script.write_text(POST % json.dumps(body))
    name, version = engine.manifest.name, engine.manifest.version
    with serving(model.parent.parent, f"{name}/{version}") as port:
        for size in sizes:
            yield size, _wrk(f"http://127.0.0.1:{port}/v1/models/{name}/versions/{version}/predict", script, size)


def _ask_each(engines: Sequence[Engine]) -> None:
    inputs = _rows(engines[0], 1)
    for engine in engines:
        engine.sample(inputs, Sampling(PASSES, seed=0))


def _wrk(url: str, script: Path, connections: int) -> float:
    """Seconds of a request; raises SystemExit if one failed."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{WRK_SECONDS}s", "-s", str(script), url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if rate is None or "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"wrk with {connections} connections: {said}")
    return connections / float(rate[1])  # Little's law


def _load(folder: Path) -> Engine:
    return load_model(folder, MaskCache(MASK_BYTES))


def _rows(engine: Engine, count: int) -> Inputs:
    return {name: np.resize(array, (count, *array.shape[1:])) for name, array in engine.examples.items()}


def _sample_seconds(engine: Engine, row_count: int, passes: int = PASSES) -> float:
    inputs, sampling = _rows(engine, row_count), Sampling(passes=passes, seed=0)
    return _seconds(lambda: engine.sample(inputs, sampling))


def _seconds(work: Callable[[], object]) -> float:
    """The median of turns, each the mean of as many calls as fill it; the first call, which allocates, is left out."""
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
