"""A contender's side: requests on stdin and replies on stdout, a line of JSON each.

    → {"folder": "…/lenet", "variant": "loop", "rows": 32, "passes": 100, "calls": 5}
    ← {"seconds": [0.12, …], "mean": [[0.1, …], …]}     the mean probabilities over all calls, (rows, classes)
    ← {"error": "…"}

Before the first request it writes {"versions": {…}}. It needs only numpy.
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
"""A whole case: (rows, passes) → mean probabilities, after computing standard deviation and entropies too."""
Prepare = Callable[[Path, int], Mapping[str, Call]]
"""(folder of the network, threads) → its calls by variant."""


def serve(prepare: Prepare, *packages: str) -> None:
    """Reply until stdin ends; the number of threads is on the command line."""
    threads = int(sys.argv[1])
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of libraries must not mix with the replies
    prepare_once = cache(lambda folder: prepare(Path(folder), threads))
    replies.write(json.dumps({"versions": {name: version(name) for name in packages}}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        try:
            call = prepare_once(request["folder"])[request.pop("variant")]
            reply = _time(call, **request)
        except Exception as error:  # noqa: BLE001 - any error of a library is reported
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")


def _time(call: Call, *, folder: str, rows: int, passes: int, calls: int) -> dict[str, Any]:
    """Time the calls, after one that warms up; a single call has none, as it is long."""
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
