"""Tabulate accuracy after each number of labels, and the gain over random choice."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from benchmarks.reproduce.labels.experiment import SCORES
from benchmarks.reproduce.records import Record
from service.engine.uncertainty import Float64

SHOWN = 5
"""The number of columns of accuracies."""


def band(records: Sequence[Record]) -> tuple[Float64, Float64]:
    """Return mean and standard deviation (n - 1) of the accuracy over the seeds, each (labels,)."""
    accuracies = np.array([one["accuracy"] for one in records])  # (seeds, labels)
    deviation = accuracies.std(axis=0, ddof=1) if len(accuracies) > 1 else np.zeros(accuracies.shape[1])
    return accuracies.mean(axis=0), deviation


def table(records: Sequence[Record]) -> Table:
    """Return a row for each strategy, with its gain over chance, paired by seed."""
    labels = records[0]["labels"]
    shown = np.unique(np.linspace(0, len(labels) - 1, SHOWN).round().astype(int)).tolist()
    found = Table("labelled by", *(f"{labels[i]} labels" for i in shown), "over all, against chance")
    for way in SCORES:
        of_way = [one for one in records if one["way"] == way]
        if of_way:
            mean, deviation = band(of_way)
            cells = [f"{mean[i]:.3f} ± {deviation[i]:.3f}" for i in shown]
            found.add_row(way, *cells, _gain(of_way, [one for one in records if one["way"] == "chance"]))
    return found


def _gain(of_way: Sequence[Record], of_chance: Sequence[Record]) -> str:
    """Return the mean gain over chance with the same seed, over all numbers of labels: mean ± standard error."""
    by_seed = {one["seed"]: np.mean(one["accuracy"]) for one in of_chance}
    gains = np.array([np.mean(one["accuracy"]) - by_seed[one["seed"]] for one in of_way if one["seed"] in by_seed])
    if len(gains) < 2 or of_way[0]["way"] == "chance":
        return ""
    return f"{gains.mean():+.4f} ± {gains.std(ddof=1) / np.sqrt(len(gains)):.4f}"
