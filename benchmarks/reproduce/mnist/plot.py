"""Draw two pictures: the error over the number of samples, and the effect of rotation."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.reproduce.records import Record

SCALING, SAMPLED = "#1b4b72", "#d95f02"
ACCURACY, CONFIDENCE, EXPECTED = "#1b4b72", "#7a7a7a", "#4f9d69"


def draw(records: Sequence[Record], samples: Path, turned: Path) -> None:
    """Write both, a panel a network."""
    mpl.use("Agg")
    for path, panel in ((samples, _over_samples), (turned, _over_angles)):
        figure = Figure(figsize=(4.2 * len(records) + 0.6, 3.9), layout="constrained")
        panels = figure.subplots(1, len(records), squeeze=False)[0]
        for axes, one in zip(panels, records, strict=True):
            panel(axes, one)
            axes.set_title(one["network"])
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def _over_samples(axes: Axes, one: Record) -> None:
    passes, mean, deviation = (np.array(one["curve"][key]) for key in ("passes", "mean", "deviation"))
    axes.fill_between(passes, mean - deviation, mean + deviation, color=SAMPLED, alpha=0.2, lw=0)
    axes.plot(passes, mean, "o-", color=SAMPLED, markersize=3, label="mean of T samples, ± deviation")
    axes.axhline(one["error"], color=SCALING, linestyle="--", label="weight scaling: the deterministic pass")
    axes.set(xscale="log", xlabel="T", ylabel="test error, %", xticks=(1, 10, 100), xticklabels=("1", "10", "100"))


def _over_angles(axes: Axes, one: Record) -> None:
    turned = one["turned"]
    angles = turned["angles"]
    axes.plot(angles, turned["accuracy"], color=ACCURACY, label="accuracy")
    axes.plot(angles, turned["confidence"], color=CONFIDENCE, linestyle=":", label="confidence without dropout")
    axes.set(xlabel="degrees", ylabel="share", ylim=(0, 1), xticks=range(0, 181, 45))
    nats = axes.twinx()
    nats.plot(angles, turned["mutual_information"], color=SAMPLED)
    nats.plot(angles, turned["expected_entropy"], color=EXPECTED)
    nats.set(ylabel="nats", ylim=(0, None))
    axes.plot([], [], color=SAMPLED, label="mutual information (nats)")
    axes.plot([], [], color=EXPECTED, label="expected entropy (nats)")
