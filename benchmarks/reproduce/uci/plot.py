"""Draw a dot for each split, the mean, and the published figure as a band of one standard error."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.reproduce.records import Record
from benchmarks.reproduce.uci.protocol import CORRECTED, Published

OURS, THEIRS = "#d95f02", "#1b4b72"
FIGURES = {"rmse": "test RMSE (less is better)", "log_likelihood": "test log-likelihood (more is better)"}


def draw(records: Sequence[Record], path: Path) -> None:
    """Write the picture: a row of panels for each figure, a column for each data set."""
    mpl.use("Agg")
    names = list(dict.fromkeys(one["data"] for one in records))
    figure = Figure(figsize=(max(6, 3.2 * len(names) + 0.8), 6), layout="constrained")
    panels = figure.subplots(len(FIGURES), len(names), squeeze=False)
    for row, (key, title) in zip(panels, FIGURES.items(), strict=True):
        row[0].set_ylabel(title)
        for axes, name in zip(row, names, strict=True):
            _panel(axes, [one for one in records if one["data"] == name], key)
    for axes, name in zip(panels[0], names, strict=True):
        axes.set_title(name)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _panel(axes: Axes, records: Sequence[Record], key: str) -> None:
    random = np.random.default_rng(0)
    for at, one in enumerate(records):
        values = np.array([result[key] for result in one["each"]])
        near = at + random.uniform(-0.15, 0.15, len(values))
        axes.plot(near, values, "o", color=OURS, alpha=0.45, markersize=4, label="ours, a split" if not at else None)
        mean = one[key][0]
        axes.plot([at - 0.3, at + 0.3], [mean, mean], color=OURS, lw=2, label="ours, mean" if not at else None)
        if published := CORRECTED.get((one["data"], one["layers"])):
            _band(axes, at, published, key)
    axes.set(xlim=(-0.6, len(records) - 0.4), xticks=range(len(records)))
    axes.set_xticklabels([f"{one['layers']} layer{'s' * (one['layers'] > 1)}" for one in records])


def _band(axes: Axes, at: int, published: Published, key: str) -> None:
    mean, error = published[:2] if key == "rmse" else published[2:]
    label = None if at else "authors, 2018 ± standard error"
    axes.fill_between([at - 0.4, at + 0.4], mean - error, mean + error, color=THEIRS, alpha=0.2, lw=0)
    axes.plot([at - 0.4, at + 0.4], [mean, mean], color=THEIRS, lw=1, linestyle=":", label=label)
