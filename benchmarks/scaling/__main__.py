"""Measure the cost of requests, fit, check, and plan: `python -m benchmarks.scaling`. Needs wrk and two cores."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from benchmarks.machine import conditions
from benchmarks.scaling import report
from benchmarks.scaling.arrivals import arrive
from benchmarks.scaling.capacity import Kind, Measured, fit
from benchmarks.scaling.measure import Subject, busy, one_core
from benchmarks.scaling.plan import plan
from benchmarks.scaling.queueing import quantile
from benchmarks.scaling.report import Check, Waited
from benchmarks.serving.failures import NotRun
from benchmarks.serving.load import on_the_wire, wrk
from benchmarks.serving.servers import Server

FITTED = [Kind(rows, passes) for rows in (1, 4, 16, 64) for passes in (0, 10, 30, 100, 300) if rows * passes <= 5000]
CHECKED = [Kind(8, 0), Kind(1, 50), Kind(8, 200), Kind(32, 20)]
"""Kinds of requests that the model is not fitted to."""
CONNECTIONS = (1, 4, 16, 64)
ALONE = 0.1
"""A utilisation with hardly any waiting; below it, the core sleeps and wakes."""
UTILISATIONS = (0.3, 0.5, 0.7, 0.85)
ARRIVING = Kind(1, 100)
RATES = (100, 1000, 10_000, 100_000)
PASSES = (0, 10, 100)


def main(
    model: Annotated[Path, typer.Option(help="Folder of the model to plan for.")] = Path("models/digits/1"),
    seconds: Annotated[int, typer.Option(help="Seconds of load for each point.", min=1)] = 4,
    repeats: Annotated[int, typer.Option(help="Loads of every point, of which the median is taken.", min=1)] = 3,
    p99_ms: Annotated[float, typer.Option(help="Latency in ms that 99 % of the requests must keep.", min=0.1)] = 50,
    price: Annotated[float, typer.Option(help="Price of a core for an hour, in any currency.", min=0)] = 0.04,
    rate: Annotated[list[float] | None, typer.Option(help="Requests a second to plan for; may be repeated.")] = None,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = Path("build/scaling.json"),
) -> None:
    """Measure, print tables, write JSON."""
    wrk()
    console, subject = Console(width=120), Subject(model)
    try:
        with console.status("starting the service") as status, one_core(subject) as server:
            measured = _rounds(server, subject, seconds, repeats, status.update)
            status.update("micro-batching")
            batched = [busy(server, subject, Kind(1, 0), seconds, connections) for connections in CONNECTIONS]
            capacity = fit([measured[ask] for ask in FITTED])
            status.update("Poisson arrivals")
            waited = list(_waited(server, subject, measured[ARRIVING].per_second, seconds * repeats))
    except NotRun as error:
        raise SystemExit(str(error)) from None
    checks = [Check(ask, 1 / capacity.cost(ask), measured[ask].per_second) for ask in CHECKED]
    loads = [(Kind(1, passes), per_second) for per_second in rate or RATES for passes in PASSES]
    plans = list(plan(capacity, loads, p99_ms / 1e3, price))
    for table in (
        report.costs(capacity),
        report.checks(checks),
        report.waits(ARRIVING, waited),
        report.batches(CONNECTIONS, batched),
        report.plans(plans, p99_ms, price),
    ):
        console.print(table)
    found = {
        **conditions("benchmarks.scaling"),
        "model": f"{subject.engine.manifest.name}/{subject.engine.manifest.version}",
        "measured": [_plain(one) for one in measured.values()],
        "capacity": {route: costs._asdict() for route, costs in capacity._asdict().items()},
        "checks": [_plain(one) for one in checks],
        "waited": [_plain(one) for one in waited],
        "batched": [{"connections": at, **_plain(one)} for at, one in zip(CONNECTIONS, batched, strict=True)],
        "p99_ms": p99_ms,
        "price": price,
        "plans": [_plain(one) for one in plans],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"Written to {out}.")


def _rounds(server: Server, subject: Subject, seconds: int, repeats: int, log: Any) -> dict[Kind, Measured]:
    """Return the median of each point over rounds of all points, so that noise of the machine affects all alike."""
    rounds = []
    for number in range(repeats):
        log(f"round {number + 1} of {repeats}: cost of requests")
        rounds.append([busy(server, subject, ask, seconds) for ask in [*FITTED, *CHECKED]])
    return {each[0].ask: _median(each) for each in zip(*rounds, strict=True)}


def _median(each: Sequence[Measured]) -> Measured:
    cpu, rate, p50, p99 = (median(column) for column in zip(*(one[1:5] for one in each), strict=True))
    return each[0]._replace(cpu_seconds=cpu, per_second=rate, p50_ms=p50, p99_ms=p99)


def _waited(server: Server, subject: Subject, capacity: float, seconds: float) -> Iterator[Waited]:
    request = on_the_wire(server.port, subject.path(ARRIVING), subject.request(ARRIVING))
    alone = 1e3 * np.median(arrive(server.port, request, ALONE * capacity, seconds, seed=0))
    for seed, utilisation in enumerate(UTILISATIONS, start=1):
        latencies = 1e3 * arrive(server.port, request, utilisation * capacity, seconds, seed)
        predicted = [float(alone) + 1e3 * quantile(utilisation, q) / capacity for q in (0.5, 0.99)]
        p50, p99 = np.quantile(latencies, (0.5, 0.99))
        yield Waited(utilisation, utilisation * capacity, predicted[0], float(p50), predicted[1], float(p99))


def _plain(one: Any) -> dict[str, Any]:
    fields: dict[str, Any] = one._asdict()
    return fields | {"ask": fields["ask"]._asdict()} if "ask" in fields else fields


if __name__ == "__main__":
    typer.run(main)
