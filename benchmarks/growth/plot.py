"""Draw a panel for each quantity, with the fitted line."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.growth.fit import Growth


def draw(grown: Sequence[Growth], path: Path) -> None:
    """Write the picture; both axes are logarithmic."""
    figure = Figure(figsize=(4 * len(grown), 4), layout="constrained")
    for axes, growth in zip(figure.subplots(1, len(grown), squeeze=False)[0], grown, strict=True):
        sizes = np.geomspace(growth.sizes[0], growth.sizes[-1], 100)
        axes.plot(growth.sizes, 1e3 * np.array(growth.seconds), "o", color="#d95f02")
        line = 1e3 * (growth.start + growth.each * sizes)
        axes.plot(sizes[line > 0], line[line > 0], color="#1b4b72", linewidth=1)
        axes.set(xscale="log", yscale="log", xlabel=growth.name, title=f"size^{growth.exponent:.2f} at large sizes")
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, high / 30), 3 * high)  # so that noise does not look like growth
    figure.axes[0].set_ylabel("milliseconds; the line is start + each · size")
    figure.savefig(path, dpi=120)
