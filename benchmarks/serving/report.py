"""Report figures as tables for the terminal."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from rich.table import Table as Drawn

from benchmarks.serving.contenders import PREDICT, UNCERTAINTY
from benchmarks.serving.figures import Figures, Line, Table
from benchmarks.serving.goals import MODEL, Goal
from benchmarks.serving.subjects import PRODUCTS, SUBJECTS

Rows = dict[str, Figures]
QUIET = 0.2
"""Cores that other processes may use."""


def tables(found: Table) -> Iterable[Drawn]:
    """Yield for each model speed, cost and sampling with the fewest workers, then the effect of more workers."""
    for model in dict.fromkeys(model for model, _, _ in found):
        counts = sorted({workers for other, workers, _ in found if other == model})
        first = select(found, model, counts[0])
        yield speed(f"{SUBJECTS[model]}, {_workers(counts[0])}", first)
        yield cost(f"{SUBJECTS[model]}, {_workers(counts[0])}", first)
        if UNCERTAINTY in first:
            yield sampling(f"{SUBJECTS[model]}, {_workers(counts[0])}", first[UNCERTAINTY])
        for workers in counts[1:]:
            yield scaling(f"{SUBJECTS[model]}, {_workers(workers)}", select(found, model, workers), first)


def select(found: Table, model: str, workers: int) -> Rows:
    """Return figures by contender."""
    return {
        name: figures for (of, with_workers, name), figures in found.items() if (of, with_workers) == (model, workers)
    }


def speed(title: str, rows: Rows) -> Drawn:
    """Return requests a second and latency at each number of connections."""
    counts = sorted({count for figures in rows.values() for count in figures.at})
    columns = [f"{count}: {what}" for count in counts for what in ("req/s", "÷", "p50 ms", "p99 ms")]
    drawn = _table(f"{title}; at each number of connections, ÷ is {PREDICT} over this one", columns)
    for name, figures in rows.items():
        cells = (cell for count in counts for cell in _speed(figures.at[count], rows.get(PREDICT), count))
        drawn.add_row(name + _failures(figures), *cells)
    return drawn


def _speed(line: Line, predict: Figures | None, count: int) -> tuple[str, str, str, str]:
    times = f"{predict.at[count].per_second / line.per_second:.2f}" if predict else ""
    return f"{line.per_second:.0f}", times, f"{line.p50_ms:.2f}", f"{line.p99_ms:.2f}"


def _failures(figures: Figures) -> str:
    """Return a remark on refused requests and broken connections."""
    refused = max(line.refused for line in figures.at.values())
    broken = sum(line.broken for line in figures.at.values())
    return f"{f' ({refused:.1%} refused)' if refused else ''}{f' ({broken} broken)' if broken else ''}"


def cost(title: str, rows: Rows) -> Drawn:
    """Return the resources that a server needs."""
    most = max(count for figures in rows.values() for count in figures.at)
    columns = (f"CPU µs a request, {most} connections", "idle MB", "MB after load", "start s")
    drawn = _table(title, columns)
    for name, figures in rows.items():
        numbers = (figures.at[most].cpu_us, figures.idle_mb, figures.loaded_mb)
        drawn.add_row(name, *(f"{number:.0f}" for number in numbers), f"{figures.ready_seconds:.2f}")
    return drawn


def sampling(title: str, sampled: Figures) -> Drawn:
    """Return the time of the matrix products of a row's samples beside that of the service."""
    most = max(sampled.at)
    drawn = _table(f"{title}; µs a row of the {PRODUCTS}", (f"{rows} in a run" for rows in sampled.products_us))
    drawn.add_column(f"{UNCERTAINTY}, {most} connections", justify="right")
    times = (*sampled.products_us.values(), 1e6 / sampled.at[most].per_second)
    drawn.add_row("", *(f"{time:.0f}" for time in times))
    return drawn


def scaling(title: str, rows: Rows, first: Rows) -> Drawn:
    """Return more workers beside the fewest, at the same connections."""
    most = max(count for figures in rows.values() for count in figures.at)
    speeds = ("req/s", "× fewest workers", "req/CPU s", "× fewest workers")
    drawn = _table(f"{title}; {most} connections", (*speeds, "p50 ms", "p99 ms", "idle MB", "start s"))
    for name, figures in rows.items():
        line, before = figures.at[most], first[name].at[most] if name in first else None
        cells = (
            *(f"{line.per_second:.0f}", _times(line.per_second, before and before.per_second)),
            *(f"{line.per_cpu_second:.0f}", _times(line.per_cpu_second, before and before.per_cpu_second)),
            *(f"{line.p50_ms:.2f}", f"{line.p99_ms:.2f}", f"{figures.idle_mb:.0f}", f"{figures.ready_seconds:.2f}"),
        )
        drawn.add_row(name + _failures(figures), *cells)
    return drawn


def _times(value: float, before: float | None) -> str:
    return f"{value / before:.2f}" if before else ""


def goal_table(goals: Iterable[Goal]) -> Drawn:
    """Return each goal, its measurement, and whether it is met."""
    drawn = _table(f"Goals of Dropserve, {SUBJECTS[MODEL]}", ("goal", "measured", ""))
    words = {None: "not measured", True: "met", False: "not met"}
    for goal in goals:
        measured = "" if goal.measured is None else f"{goal.measured:.2f}"
        drawn.add_row(goal.text, f"{'≤' if goal.at_most else '≥'} {goal.bound:g}", measured, words[goal.met])
    return drawn


def disturbance(found: Table) -> str:
    """Return a remark on other work on the machine."""
    cores = [line.disturbed for figures in found.values() for line in figures.at.values()]
    text = f"All else on the machine took {median(cores):.2f} cores meanwhile, {max(cores):.2f} at most"
    return f"{text}: too much; repeat the measurement on an idle machine." if max(cores) > QUIET else f"{text}."


def reasons_table(reasons: Mapping[Any, str]) -> Drawn:
    """Return the contenders that were not run, and the reasons."""
    drawn = Drawn("not run", "reason", title="Not run")
    for what, reason in reasons.items():
        drawn.add_row(what if isinstance(what, str) else ", ".join(map(str, what)), reason)
    return drawn


def _table(title: str, columns: Iterable[str]) -> Drawn:
    drawn = Drawn("", title=title)
    for column in columns:
        drawn.add_column(column, justify="right")
    return drawn


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"
