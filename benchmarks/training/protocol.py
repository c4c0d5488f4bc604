"""A contender's side: what is asked on stdin is answered on stdout, a line of JSON each.

    → {"network": "mlp", "steps": 100, "seed": 0}
    ← {"seconds": 2.1, "loss": 0.31}     of one epoch: how long, and the mean training loss with dropout
    ← {"error": "…"}

Before the first question it says {"versions": {…}}. An epoch follows another one of the same network: its weights
and its optimiser go on. It needs nothing but numpy.
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
"""Trains one epoch; its mean training loss."""
Prepare = Callable[[Network, Rows, int], Epoch]
"""(network, rows, threads) → what trains it on."""


def serve(prepare: Prepare, *packages: str) -> None:
    """Answer until stdin ends; the threads to use stand on the command line."""
    threads = int(sys.argv[1])
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not get among the replies

    @cache
    def prepared(name: str, steps: int, seed: int) -> Epoch:
        return prepare(NETWORKS[name], make_rows(NETWORKS[name], steps, seed), threads)

    replies.write(json.dumps({"versions": {name: version(name) for name in packages}}) + "\n")
    for line in sys.stdin:
        question = json.loads(line)
        try:
            epoch = prepared(question["network"], question["steps"], question["seed"])
            start = perf_counter()
            loss = epoch()
            reply: dict[str, object] = {"seconds": perf_counter() - start, "loss": loss}
        except Exception as error:  # noqa: BLE001 - whatever a library raises is told
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
