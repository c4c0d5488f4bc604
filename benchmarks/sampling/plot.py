"""Draw a panel for each cell: the time of each contender, and that of the multiplications alone."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.sampling.cells import Cell
from benchmarks.sampling.contenders import LAYER_PRODUCTS, ONE_PASS, OURS

OURS_COLOUR, PEER_COLOUR, REFERENCE_COLOUR = "#d95f02", "#9aa5b1", "#1b4b72"


def draw(cells: Sequence[Cell], path: Path) -> None:
    """Write the picture; a row of panels for each network."""
    mpl.use("Agg")
    models = list(dict.fromkeys(cell.model for cell in cells))
    columns = max(sum(cell.model == model for cell in cells) for model in models)
    figure = Figure(figsize=(3.2 * columns + 2, 3.2 * len(models)), layout="constrained")
    panels = figure.subplots(len(models), columns, squeeze=False)
    for row, model in zip(panels, models, strict=True):
        for axes, cell in zip(row, (cell for cell in cells if cell.model == model), strict=False):
            _panel(axes, cell)
            axes.label_outer()
            axes.tick_params(labelbottom=True)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle("Milliseconds for the uncertainty of MC dropout; less is better")
    figure.savefig(path, dpi=120)


def _panel(axes: Axes, cell: Cell) -> None:
    contenders = cell.sampling[::-1]
    milliseconds = [1e3 * cell.seconds(contender) for contender in contenders]
    colours = [OURS_COLOUR if contender.peer == OURS else PEER_COLOUR for contender in contenders]
    axes.barh([contender.label for contender in contenders], milliseconds, color=colours)
    axes.axvline(1e3 * cell.seconds(ONE_PASS), color=REFERENCE_COLOUR, linestyle=":", label="one deterministic pass")
    axes.axvline(1e3 * cell.seconds(LAYER_PRODUCTS), color=REFERENCE_COLOUR, label="matrix products alone")
    axes.set(xscale="log", title=str(cell))
    axes.title.set_fontsize("small")
    axes.tick_params(labelsize="small")
