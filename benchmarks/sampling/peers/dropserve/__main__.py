"""Dropserve's engine: with masks, the whole summary, and the deterministic answer."""

from itertools import count
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from benchmarks.sampling.peers.dropserve import DEFAULT_SEED
from benchmarks.sampling.protocol import Call, Rows, serve
from service import load_model
from service.engine.masks import MaskCache
from service.engine.sampling import Sampling

MASK_BYTES = 2**26


def prepare(folder: Path, threads: int) -> dict[str, Call]:
    """Return calls with the default seed, whose masks are cached, and with another seed in each call."""
    engine = load_model(folder / "published" / folder.name / "1", MaskCache(MASK_BYTES), threads=threads)
    seeds = count(1)

    def same_seed(rows: Rows, passes: int) -> NDArray[Any]:
        return engine.sample({"input": rows}, Sampling(passes=passes, seed=DEFAULT_SEED)).uncertainty.mean

    def new_seed(rows: Rows, passes: int) -> NDArray[Any]:
        return engine.sample({"input": rows}, Sampling(passes=passes, seed=next(seeds))).uncertainty.mean

    return {"same seed": same_seed, "new seed": new_seed}


serve(prepare, "numpy", "onnxruntime")
