"""Trial: the sampled layers in 8-bit integers in place of float32: `python -m benchmarks.trials.int8`.

Masks are the same for all, so that what differs is the rounding. Its bias is told as a share of the standard error
that so many passes leave anyway, on real rows and on some unlike those trained on. Activations are scaled by those of
a whole run (dynamic), by a constant (fixed) or by their own row's (by_row).
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.trials import quantise
from benchmarks.trials.models import Model, digits, large
from benchmarks.trials.trial import record, turns
from service.engine.masks import draw_masks
from service.engine.uncertainty import softmax, summarise_classes
from service.model.runtime import Array, Graph

TIMED_ROWS, ROUNDS = (1, 32), 15
PASSES, ROWS, GROUPS = 100, 64, 64
"""Of the error: so many rows, each answered so many times by as many passes."""
KINDS = ("dynamic", "fixed", "by_row")
NAMES = ("mean probabilities", "predictive entropy", "mutual information")


class Graphs(NamedTuple):
    """The same network, whole and in three ways quantised."""

    float32: Graph
    dynamic: Graph
    fixed: Graph
    by_row: Graph


def load(model: Model) -> Graphs:
    """`fixed` is scaled by rows that are not asked here."""
    seen = feeds(model, model.rows[ROWS:])
    made = (
        model.sample,
        quantise.dynamic(model.sample),
        quantise.fixed(model.sample, seen),
        quantise.by_row(model.sample),
    )
    return Graphs(*(Graph(graph.SerializeToString()) for graph in made))


def feeds(model: Model, x: Array, start: int = 0, stop: int = PASSES) -> dict[str, Array]:
    masks = [draw_masks(0, i, site.p, site.shape, start, stop) for i, site in enumerate(model.sites)]
    return {"input": x} | {f"mask_{i}": mask for i, mask in enumerate(masks)}


def compare_times(model: Model, graphs: Graphs, rows: int) -> dict[str, Any]:
    """Milliseconds of all, drawing of masks not included."""
    asked = feeds(model, model.rows[:rows])
    taken = turns({name: partial(graph.run, asked) for name, graph in graphs._asdict().items()}, ROUNDS)
    return {"model": model.name, "rows": rows} | {name: 1e3 * float(np.median(taken[name])) for name in taken}


def answer(model: Model, graph: Graph) -> list[Array]:
    """Of each number, by each group of passes: (groups, rows, n)."""
    groups = []
    for first in range(0, GROUPS * PASSES, PASSES):
        raw = graph.run(feeds(model, model.rows[:ROWS], first, first + PASSES))
        said = summarise_classes(softmax(raw, model.temperature))
        groups.append((said.mean, said.predictive_entropy[:, None], said.mutual_information[:, None]))
    return [np.stack(number) for number in zip(*groups, strict=True)]


def compare_answers(rows: str, model: Model, graphs: Graphs) -> Iterator[dict[str, Any]]:
    """The bias of each number, and its length as a share of that of the standard error, over rows."""
    true = answer(model, graphs.float32)
    for kind in KINDS:
        for name, exact, rounded in zip(NAMES, true, answer(model, getattr(graphs, kind)), strict=True):
            bias = np.linalg.norm((rounded - exact).mean(axis=0), axis=-1)  # (rows,)
            noise = np.linalg.norm((rounded - exact).std(axis=0, ddof=1), axis=-1) / np.sqrt(GROUPS)
            share = bias / np.linalg.norm(exact.std(axis=0, ddof=1), axis=-1)
            yield {
                "rows": rows,
                "kind": kind,
                "number": name,
                "bias": [float(bias.mean()), float(bias.max())],
                "noise_of_bias": float(noise.mean()),
                "share": [float(share.mean()), float(share.max())],
            }


def moved_by_mates(model: Model, graph: Graph) -> float:
    """How far a row's mean probabilities are, at most, from what they are when it is asked alone."""

    def mean(x: Array) -> Array:
        return np.asarray(softmax(graph.run(feeds(model, x)), model.temperature).mean(axis=0))

    x = model.rows[:ROWS]
    return float(np.abs(mean(x) - np.concatenate([mean(row[None]) for row in x])).max())


def tabulate_times(found: list[dict[str, Any]]) -> Table:
    table = Table("network", "rows", "float32, ms", *KINDS, title=f"{PASSES} passes, times as fast")
    for times in found:
        ratios = [f"{times['float32'] / times[kind]:.2f}" for kind in KINDS]
        table.add_row(times["model"], str(times["rows"]), f"{times['float32']:.3g}", *ratios)
    return table


def tabulate_errors(found: list[dict[str, Any]]) -> Table:
    title = f"bias, mean and worst of {ROWS} rows, and as a share of the standard error"
    table = Table("rows", "kind", "number", "bias", "its noise", f"share, T={PASSES}", f"T={10 * PASSES}", title=title)
    for errors in found:
        mean, worst = errors["share"]
        shares = [f"{mean * scale:.2f}, {worst * scale:.2f}" for scale in (1, np.sqrt(10))]
        bias = "{:.2g}, {:.2g}".format(*errors["bias"])
        table.add_row(errors["rows"], errors["kind"], errors["number"], bias, f"{errors['noise_of_bias']:.1g}", *shares)
    return table


def main() -> None:
    """Measure all, print tables, write them as JSON."""
    console, small = Console(width=120), digits()
    graphs = load(small)
    pairs = [(small, graphs)] + [(model, load(model)) for model in (large(),)]
    times = [compare_times(*pair, rows) for pair in pairs for rows in TIMED_ROWS]
    errors = list(compare_answers("real", small, graphs))
    errors += compare_answers("twice as bright", small._replace(rows=2 * small.rows), graphs)
    moved = {kind: moved_by_mates(small, graph) for kind, graph in graphs._asdict().items()}
    console.print(tabulate_times(times), tabulate_errors(errors))
    console.print("a row's mean probabilities moved by its batch-mates:", moved)
    console.print(f"Written to {record('int8', {'times': times, 'errors': errors, 'moved_by_mates': moved})}.")


if __name__ == "__main__":
    typer.run(main)
