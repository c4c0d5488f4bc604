"""Trial: multiply smaller matrices, of the units that a pass keeps: `python -m benchmarks.trials.thinning`.

Masks are shared by all rows, so a pass of p = 1/2 needs about a quarter of a hidden-to-hidden matrix. The contenders,
on one thread each, compute the same T times: hidden units (rows, W) → dropout → W×W, ReLU → dropout → W×10.

full      masks multiplied in, a constant, packed matrix for all passes of a run, as the engine does
gathered  each pass's weights gathered in every request, in runs that stay in the cache; batched products
kept      the same with weights that were gathered before
packed    the same as constants of a graph for these very masks, so that they are packed too; one product a pass
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.trials.thinned import Network, full_graph, gather, layers, packed_graph, take_units
from benchmarks.trials.trial import make_graph, record, turns
from service.engine.cuts import MULTIPLY_ADDS_PER_RUN
from service.engine.masks import draw_masks
from service.model.runtime import Array

P, T, OUTPUTS = 0.5, 100, 10
WIDTHS, ROWS, ROUNDS = (256, 1024), (1, 8, 32, 128, 512), 7
CACHE_BYTES = 2**20
"""Of weights gathered for a run."""
TOLERANCE = 1e-4


def runs(multiply_adds: int, at_most: int = T) -> Iterator[slice]:
    """Passes of so many multiply-adds each, in runs as long as the engine's."""
    step = max(1, min(at_most, MULTIPLY_ADDS_PER_RUN // multiply_adds))
    return (slice(t, t + step) for t in range(0, T, step))


class Contenders:
    """Four ways from hidden units (rows, width) to the outputs of T passes (T, rows, OUTPUTS)."""

    def __init__(self, width: int) -> None:
        rng = np.random.default_rng(0)
        w1, w2 = (rng.normal(0, np.sqrt(2 / width), (width, n)).astype(np.float32) for n in (width, OUTPUTS))
        self.network = Network(w1, rng.normal(0, 0.1, width).astype(np.float32), w2)
        self.masks = [draw_masks(0, site, P, (width,), 0, T) for site in range(2)]
        self.units, self.thinned = gather(self.network, self.masks)
        self._full = full_graph(self.network)
        self._batched = make_graph(layers(), ("x", *Network._fields), {})
        self._packed = packed_graph(self.thinned)

    def full(self, x: Array) -> Array:
        first, second = self.masks
        cuts = runs(len(x) * self.network.w1.size)
        return np.concatenate([self._full.run({"x": x, "mask_0": first[t], "mask_1": second[t]}) for t in cuts])

    def gathered(self, x: Array) -> Array:
        weights = self.thinned.w1[0].size
        cuts = runs(len(x) * weights, CACHE_BYTES // (4 * weights))
        return np.concatenate([self._thin(x, *gather(self.network, [mask[t] for mask in self.masks])) for t in cuts])

    def kept(self, x: Array) -> Array:
        cuts = runs(len(x) * self.thinned.w1[0].size)
        return np.concatenate([self._thin(x, self.units[t], Network(*(a[t] for a in self.thinned))) for t in cuts])

    def packed(self, x: Array) -> Array:
        return self._packed.run({"x": take_units(x, self.units)})

    def _thin(self, x: Array, units: Array, thinned: Network) -> Array:
        return self._batched.run({"x": take_units(x, units), **thinned._asdict()})


def compare(contenders: Contenders, rows: int) -> dict[str, Any]:
    """Milliseconds of each at so many rows; raises SystemExit when one computes something else than the first."""
    width = len(contenders.network.b1)
    x = np.maximum(np.random.default_rng(rows).normal(size=(rows, width)), 0).astype(np.float32)
    ways = [contenders.full, contenders.gathered, contenders.kept, contenders.packed]
    expected = ways[0](x)
    errors = {way.__name__: float(np.abs(way(x) - expected).max()) for way in ways[1:]}
    if max(errors.values()) > TOLERANCE:
        raise SystemExit(f"width {width}, {rows} rows: not the same answers: {errors}")
    taken = turns({way.__name__: partial(way, x) for way in ways}, ROUNDS)
    quartiles = {name: [1e3 * float(q) for q in np.quantile(times, (0.25, 0.75))] for name, times in taken.items()}
    milliseconds = {name: 1e3 * float(np.median(times)) for name, times in taken.items()}
    return {"width": width, "rows": rows, "errors": errors, "quartiles": quartiles} | milliseconds


def main() -> None:
    """Measure all, print a table, write it as JSON."""
    console, found = Console(width=120), []
    table = Table("width", "rows", "full, ms", "gathered", "kept", "packed", title="times as fast as full")
    for width in WIDTHS:
        contenders = Contenders(width)
        megabytes = sum(array.nbytes for array in contenders.thinned) / 1e6
        console.print(f"width {width}: {len(contenders.thinned.b1[0, 0])} units a pass, {megabytes:.0f} MB kept")
        for rows in ROWS:
            times = compare(contenders, rows)
            ratios = [f"{times['full'] / times[name]:.2f}" for name in ("gathered", "kept", "packed")]
            table.add_row(str(width), str(rows), f"{times['full']:.3g}", *ratios)
            found.append(times | {"kept_megabytes": megabytes})
    console.print(table)
    console.print(f"All agree within {TOLERANCE:g}. Written to {record('thinning', found)}.")


if __name__ == "__main__":
    typer.run(main)
