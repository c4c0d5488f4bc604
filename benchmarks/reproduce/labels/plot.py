"""Draw accuracy over the number of labels, a line and a band for each strategy."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.reproduce.labels.report import band
from benchmarks.reproduce.records import Record

COLOURS = {"mutual information": "#d95f02", "entropy": "#4f9d69", "chance": "#7a7a7a"}


def draw(records: Sequence[Record], path: Path) -> None:
    """Write the picture as PNG."""
    mpl.use("Agg")
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for way, colour in COLOURS.items():
        found = [one for one in records if one["way"] == way]
        if not found:
            continue
        labels, (mean, deviation) = found[0]["labels"], band(found)
        axes.fill_between(labels, mean - deviation, mean + deviation, color=colour, alpha=0.2, lw=0)
        axes.plot(labels, mean, "o-", color=colour, markersize=3, label=f"{way} (mean of {len(found)} seeds)")
    axes.set(xlabel="labels", ylabel="accuracy on held-out digits")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False, title="rows chosen by")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
