"""A contender's side: what is asked on stdin is answered on stdout, a line of JSON each.

    → {"folder": "…/lenet", "variant": "loop", "rows": 32, "passes": 100, "calls": 5}
    ← {"seconds": [0.12, …], "mean": [[0.1, …], …]}     the mean probabilities over all calls, (rows, classes)
    ← {"error": "…"}

Before the first question it says {"versions": {…}}. It needs nothing but numpy.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Call = Callable[[Rows, int], Any]
"""A whole question: (rows, passes) → mean probabilities, after computing standard deviation and entropies too."""
Prepare = Callable[[Path, int], Mapping[str, Call]]
"""(folder of the network, threads) → its questions by variant."""


def serve(prepare: Prepare, *packages: str) -> None:
    """Answer until stdin ends; the threads to use stand on the command line."""
    threads = int(sys.argv[1])
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not get among the replies
    prepare_once = cache(lambda folder: prepare(Path(folder), threads))
    replies.write(json.dumps({"versions": {name: version(name) for name in packages}}) + "\n")
    for line in sys.stdin:
        question = json.loads(line)
        try:
            call = prepare_once(question["folder"])[question.pop("variant")]
            reply = _time(call, **question)
        except Exception as error:  # noqa: BLE001 - whatever a library raises is told
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")


def _time(call: Call, *, folder: str, rows: int, passes: int, calls: int) -> dict[str, Any]:
    """Before several calls, one warms up and is not counted; one alone is asked where calls are long."""
    inputs: Rows = np.load(Path(folder) / "inputs.npy")[:rows]
    if calls > 1:
        call(inputs, passes)
    seconds, means = [], []
    for _ in range(calls):
        start = perf_counter()
        mean = call(inputs, passes)
        seconds.append(perf_counter() - start)
        means.append(np.asarray(mean, dtype=np.float64))
    return {"seconds": seconds, "mean": np.mean(means, axis=0).tolist()}
