"""Write the results of `python -m benchmarks.scaling` to docs/scaling.md: `python -m tools.docs.make_scaling`."""

import json
from collections.abc import Iterator
from typing import Any

from tools.docs.make_performance import BUILD, HERE, fill, measured_by, table

Row = list[str]

RATE = 100_000
"""The rate of the section on bottlenecks."""


def main() -> None:
    """Write the page."""
    found = json.loads((BUILD / "scaling.json").read_text(encoding="utf-8"))
    page = HERE / "scaling.md"
    text = fill(page.read_text(encoding="utf-8"), "scaling", sections(found))
    page.write_text(text, encoding="utf-8")
    print(f"scaling: {measured_by(found)}")  # noqa: T201 - a command's own output


def sections(found: dict[str, Any]) -> Iterator[str]:
    """Yield the sections: the cost of requests, checks of the model, and plans."""
    yield f"{measured_by(found)} Model: {found['model']}."
    yield "### Cost of a request\n\nMicroseconds of a core, for requests of 8 connections:"
    columns = ["", "request", "each row", "each pass", "each row and pass"]
    yield table(columns, ([f"`/{route}`", *_micro(costs)] for route, costs in found["capacity"].items()))
    yield "### Checks of the model\n\nRequests a second on one core, at points that it was not fitted to:"
    columns = ["rows × passes", "predicted", "measured", "measured / predicted"]
    yield table(columns, (_check(**one) for one in found["checks"]))
    farthest = max(abs(one["measured_per_second"] / one["said_per_second"] - 1) for one in found["checks"])
    yield f"The model is off by {farthest:.0%} at most, at these."
    yield "Latency (ms) of one row and 100 passes at Poisson arrivals, p50 and p99:"
    columns = ["utilisation", "requests/s", "p50 predicted", "p50", "p99 predicted", "p99"]
    yield table(columns, (_waited(**one) for one in found["waited"]))
    yield (
        "The model has no stalls of the machine or of garbage collection; a single one of 100 ms"
        " dominates the measured p99 of a few seconds of load. Measure the tail where the service will run."
    )
    yield "### What batching saves\n\n`/predict` of one row; requests that arrive together share a run:"
    columns = ["connections", "requests/s", "CPU, µs", "p50, ms", "p99, ms"]
    yield table(columns, (_batched(**one) for one in found["batched"]))
    yield (
        f"### Cores for a load\n\nOne row a request, 99 % within {found['p99_ms']:g} ms, a core for an hour at"
        f" {found['price']:g}:"
    )
    columns = ["requests/s", "passes", "utilisation", "cores", "price of a million"]
    yield table(columns, (_plan(**one) for one in found["plans"]))
    single = sorted((one for one in found["measured"] if one["ask"]["rows"] == 1), key=lambda one: one["ask"]["passes"])
    columns = ["one row a request", "cores for requests", "cores for rows and passes", "Gbit/s in", "Gbit/s out"]
    yield f"### At {RATE:,} requests a second\n\nCores fully busy, and network traffic:"
    yield table(columns, (_bottleneck(one, found["capacity"]) for one in single))


def _micro(costs: dict[str, float]) -> Row:
    return [f"{1e6 * cost:.3g}" for cost in costs.values()]


def _check(ask: dict[str, int], said_per_second: float, measured_per_second: float) -> Row:
    ratio = measured_per_second / said_per_second
    rates = (f"{said_per_second:.0f}", f"{measured_per_second:.0f}", f"{ratio:.2f}")
    return [f"{ask['rows']} × {ask['passes']}", *rates]


def _waited(utilisation: float, per_second: float, **milliseconds: float) -> Row:
    return [f"{utilisation:.2f}", f"{per_second:.0f}", *(f"{value:.1f}" for value in milliseconds.values())]


def _batched(connections: int, cpu_seconds: float, per_second: float, p50_ms: float, p99_ms: float, **_: Any) -> Row:
    return [str(connections), f"{per_second:.0f}", f"{1e6 * cpu_seconds:.0f}", f"{p50_ms:.2f}", f"{p99_ms:.2f}"]


def _plan(ask: dict[str, int], per_second: float, utilisation: float, cores: float, price_per_million: float) -> Row:
    figures = (f"{utilisation:.2f}", f"{cores:.2g}" if cores < 10 else f"{cores:.0f}", f"{price_per_million:.2g}")
    return [f"{per_second:,.0f}", str(ask["passes"]), *figures]


def _bottleneck(one: dict[str, Any], capacity: dict[str, dict[str, float]]) -> Row:
    ask = one["ask"]
    costs = capacity["uncertainty" if ask["passes"] else "predict"]
    computing = costs["row"] + (costs["one_pass"] + costs["row_pass"]) * ask["passes"]
    wire = (f"{8e-9 * RATE * one[size]:.1f}" for size in ("sent_bytes", "received_bytes"))
    name = f"`/uncertainty`, {ask['passes']} passes" if ask["passes"] else "`/predict`"
    return [name, f"{RATE * costs['request']:.0f}", f"{RATE * computing:.0f}", *wire]


if __name__ == "__main__":
    main()
