"""A contender's side: requests on stdin and replies on stdout, a line of JSON each.

    → {"network": "mlp", "steps": 100, "seed": 0}
    ← {"seconds": 2.1, "loss": 0.31}     of one epoch: its time, and the mean training loss with dropout
    ← {"error": "…"}

Before the first request it writes {"versions": {…}}. An epoch continues the one before of the same network, with its
weights and its optimiser. It needs only numpy.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from time import perf_counter

from benchmarks.training.networks import NETWORKS, Network, Rows, make_rows

Epoch = Callable[[], float]
"""Train one epoch, and return its mean training loss."""
Prepare = Callable[[Network, Rows, int], Epoch]
"""(network, rows, threads) → its epoch."""


def serve(prepare: Prepare, *packages: str) -> None:
    """Reply until stdin ends; the number of threads is on the command line."""
    threads = int(sys.argv[1])
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of libraries must not mix with the replies

    @cache
    def prepared(name: str, steps: int, seed: int) -> Epoch:
        return prepare(NETWORKS[name], make_rows(NETWORKS[name], steps, seed), threads)

    replies.write(json.dumps({"versions": {name: version(name) for name in packages}}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        try:
            epoch = prepared(request["network"], request["steps"], request["seed"])
            start = perf_counter()
            loss = epoch()
            reply: dict[str, object] = {"seconds": perf_counter() - start, "loss": loss}
        except Exception as error:  # noqa: BLE001 - any error of a library is reported
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
