"""Draw the figures: requests a second, and latencies."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.serving.contenders import NAIVE
from benchmarks.serving.figures import Table
from benchmarks.serving.report import Rows, select
from benchmarks.serving.subjects import SUBJECTS

OURS, BASELINE, OTHERS = "tab:orange", "tab:gray", "tab:blue"


def draw(found: Table, file: Path) -> None:
    """Draw a row of panels a model: requests a second, and latency, by connections; with the fewest workers."""
    models = list(dict.fromkeys(model for model, _, _ in found))
    mpl.rcParams["svg.hashsalt"] = "serving"
    figure = Figure(figsize=(16, 6.5 * len(models)), layout="constrained")
    panels = figure.subplots(len(models), 2, squeeze=False)
    for model, (left, right) in zip(models, panels, strict=True):
        rows = select(found, model, min(workers for other, workers, _ in found if other == model))
        draw_rates(left, str(SUBJECTS[model]), rows)
        draw_latencies(right, str(SUBJECTS[model]), rows)
    figure.savefig(file)


def draw_rates(panel: Axes, title: str, rows: Rows) -> None:
    """Draw a bar a contender, at most connections, with its ratio to the naive one."""
    most = max(count for figures in rows.values() for count in figures.at)
    rates = [figures.at[most].per_second for figures in rows.values()]
    bars = panel.barh(list(rows), rates, color=[_colour(name) for name in rows])
    if NAIVE in rows:
        panel.bar_label(bars, [f" {rate / rows[NAIVE].at[most].per_second:.2f}×" for rate in rates])
    panel.invert_yaxis()
    panel.margins(x=0.12)
    panel.set(title=f"{title}, {most} connections", xlabel=f"requests a second; times {NAIVE}")


def draw_latencies(panel: Axes, title: str, rows: Rows) -> None:
    """Draw a line from p50 to p99 for each contender and number of connections."""
    counts = sorted({count for figures in rows.values() for count in figures.at})
    for place, (name, figures) in enumerate(rows.items()):
        for step, count in enumerate(counts):
            line, height = figures.at[count], place + 0.25 * (step - (len(counts) - 1) / 2)
            panel.plot([line.p50_ms, line.p99_ms], [height] * 2, "|-", color=_colour(name), alpha=1 - 0.25 * step)
    panel.set_yticks(range(len(rows)), list(rows))
    panel.invert_yaxis()
    panel.set_xscale("log")
    panel.grid(axis="x", alpha=0.3)
    shown = ", ".join(map(str, counts))
    panel.set(title=f"{title}, from top: {shown} connections", xlabel="milliseconds, p50 to p99")


def _colour(name: str) -> str:
    if name.startswith("Dropserve at "):
        return BASELINE
    return OURS if name.startswith("Dropserve") else OTHERS
