"""Report the results as tables for the terminal."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table

from benchmarks.scaling.capacity import Capacity, Kind, Measured
from benchmarks.scaling.plan import Plan


class Check(NamedTuple):
    """The model's prediction for a kind that it was not fitted to, beside the measurement."""

    ask: Kind
    said_per_second: float
    measured_per_second: float


class Waited(NamedTuple):
    """Latencies at a utilisation, measured, and predicted by the unloaded latency and the wait of the queueing
    model.
    """

    utilisation: float
    per_second: float
    said_p50_ms: float
    p50_ms: float
    said_p99_ms: float
    p99_ms: float


def costs(capacity: Capacity) -> Table:
    """Return the terms of the model."""
    table = Table("µs of a core", "request", "each row", "each pass", "each row and pass", title="Cost of requests")
    for route, each in capacity._asdict().items():
        table.add_row(f"/{route}", *(f"{1e6 * cost:.3g}" for cost in each))
    return table


def checks(found: Sequence[Check]) -> Table:
    """Return predictions of the model beside measurements that it was not fitted to."""
    table = Table("rows", "passes", "predicted", "measured", "ratio", title="Requests a second on one core")
    for ask, predicted, measured in found:
        table.add_row(
            str(ask.rows), str(ask.passes), f"{predicted:.0f}", f"{measured:.0f}", f"{measured / predicted:.2f}"
        )
    return table


def waits(ask: Kind, waited: Sequence[Waited]) -> Table:
    """Return predictions of the queueing model beside measurements."""
    title = f"Latency, ms, of {ask.passes} passes, Poisson arrivals"
    table = Table("utilisation", "requests/s", "p50 predicted", "measured", "p99 predicted", "measured", title=title)
    for one in waited:
        table.add_row(f"{one.utilisation:.2f}", f"{one.per_second:.0f}", *(f"{figure:.1f}" for figure in one[2:]))
    return table


def batches(connections: Sequence[int], batched: Sequence[Measured]) -> Table:
    """Return the cost of a reply by the number of connections."""
    title = "Micro-batching of /predict"
    table = Table("connections", "requests/s", "CPU µs", "p50, ms", "p99, ms", title=title)
    for at, one in zip(connections, batched, strict=True):
        figures = (f"{one.per_second:.0f}", f"{1e6 * one.cpu_seconds:.0f}", f"{one.p50_ms:.2f}", f"{one.p99_ms:.2f}")
        table.add_row(str(at), *figures)
    return table


def plans(found: Sequence[Plan], p99_ms: float, price: float) -> Table:
    """Return the needs of each load."""
    title = f"Cores for one row a request, 99 % within {p99_ms:g} ms, at {price:g} a core and hour"
    table = Table("requests/s", "passes", "utilisation", "cores", "price of a million", title=title)
    for one in found:
        figures = (f"{one.utilisation:.2f}", f"{one.cores:.1f}", f"{one.price_per_million:.3g}")
        table.add_row(f"{one.per_second:g}", str(one.ask.passes), *figures)
    return table
