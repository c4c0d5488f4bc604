"""Measure the cost of the prediction log for callers: `python -m benchmarks.prediction_log`."""

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import httpx
import typer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from benchmarks.local_service import serve
from benchmarks.machine import conditions
from benchmarks.serving.contenders import Request, as_rows
from benchmarks.serving.load import put, write_requests

PATHS = ("/predict", "/uncertainty")


class Visit(NamedTuple):
    """Results of one load."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """CPU time of the service for each request, the figure that other work on the machine affects least."""


def main(
    models: Annotated[Path, typer.Option(help="Folder of models; the default model is measured.")] = Path("models"),
    store: Annotated[str, typer.Option(help="Prediction log: a folder or URL; by default a temporary folder.")] = "",
    repeats: Annotated[int, typer.Option(min=1, help="Loads of each, in turn.")] = 9,
    seconds: Annotated[int, typer.Option(min=1, help="Seconds of each load.")] = 3,
    connections: Annotated[int, typer.Option(min=1, help="Concurrent connections.")] = 8,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = Path("build/prediction_log.json"),
) -> None:
    """Load two services in turn, one with the log and one without; print medians and their ratios."""
    console = Console(width=120)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = {
            "off": stack.enter_context(serve(models)),
            "on": stack.enter_context(serve(models, DROPSERVE_PREDICTION_LOG=store or str(folder / "log"))),
        }
        found = {path: measure(urls, path, folder, (repeats, seconds, connections)) for path in PATHS}
        rows = counted(urls["on"], "dropserve_logged_rows_total")
    console.print(tabulate(found))
    console.print(f"rows logged: {rows}")
    out.parent.mkdir(parents=True, exist_ok=True)
    loads = {path: {kind: [visit._asdict() for visit in of] for kind, of in by.items()} for path, by in found.items()}
    out.write_text(
        json.dumps({**conditions("benchmarks.prediction_log"), "logged": rows, "loads": loads}, indent=2) + "\n"
    )
    console.print(f"Written to {out}.")


def measure(urls: dict[str, str], path: str, folder: Path, plan: tuple[int, int, int]) -> dict[str, list[Visit]]:
    """Return loads with the log on and off, in alternating order."""
    repeats, seconds, connections = plan
    loads: dict[str, list[Visit]] = {kind: [] for kind in urls}
    for turn in range(repeats):
        for kind in sorted(urls, reverse=bool(turn % 2)):
            port = httpx.URL(urls[kind]).port
            assert port
            requests = folder / f"{kind}.requests"
            write_requests(requests, port, path, example_requests(urls[kind]))
            before = counted(urls[kind], "process_cpu_seconds_total")
            load = put(port, requests, connections, seconds)
            cpu = counted(urls[kind], "process_cpu_seconds_total")[""] - before[""]
            loads[kind].append(Visit(load.per_second, load.p50_ms, load.p99_ms, 1e6 * cpu / load.requests))
    return loads


def example_requests(url: str) -> list[Request]:
    """Return a request for each example row of the default model."""
    default = httpx.get(f"{url}/v1/models").json()["default_model"]
    return [as_rows(row) for row in httpx.get(f"{url}/v1/models/{default}/examples").json()["inputs"]]


def counted(url: str, name: str) -> dict[str, float]:
    """Return a counter by its fate, if it has that label."""
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return {sample.labels.get("fate", ""): sample.value for sample in samples if sample.name == name}


def tabulate(found: dict[str, dict[str, list[Visit]]]) -> Table:
    """Return medians over the turns, and the ratios of on to off."""
    table = Table("path", "log", "requests/s", "p50, ms", "p99, ms", "CPU, µs")
    for path, loads in found.items():
        medians = {kind: middle(of) for kind, of in loads.items()}
        for kind, numbers in medians.items():
            table.add_row(path, kind, *(f"{number:.4g}" for number in numbers))
        ratios = [on / off for on, off in zip(medians["on"], medians["off"], strict=True)]
        table.add_row(path, "on / off", *(f"{ratio:.3f}" for ratio in ratios))
    return table


def middle(visits: Sequence[Visit]) -> list[float]:
    """Return the median of each number."""
    return [median(values) for values in zip(*visits, strict=True)]


if __name__ == "__main__":
    typer.run(main)
