"""`python -m benchmarks.prediction_log`: what the prediction log costs those who ask."""

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Annotated

import httpx
import typer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from benchmarks.machine import conditions
from benchmarks.playground.__main__ import serve
from benchmarks.serving.contenders import Request, as_rows
from benchmarks.serving.load import Load, put, write_requests

PATHS = ("/predict", "/uncertainty")


def main(
    models: Annotated[Path, typer.Option(help="Folder of models; the default one is asked.")] = Path("models"),
    store: Annotated[str, typer.Option(help="Where to keep answers: a folder or URL; none: a folder of its own.")] = "",
    repeats: Annotated[int, typer.Option(min=1, help="Of each, in turns.")] = 9,
    seconds: Annotated[int, typer.Option(min=1, help="Of load each time.")] = 3,
    connections: Annotated[int, typer.Option(min=1, help="That ask at once.")] = 8,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = Path("build/prediction_log.json"),
) -> None:
    """Load two services by turns, one with the log and one without; print medians and their ratios."""
    console = Console(width=120)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = {
            "off": stack.enter_context(serve(models)),
            "on": stack.enter_context(serve(models, DROPSERVE_PREDICTION_LOG=store or str(folder / "log"))),
        }
        found = {path: measure(urls, path, folder, (repeats, seconds, connections)) for path in PATHS}
        rows = logged(urls["on"])
    console.print(tabulate(found))
    console.print(f"rows logged: {rows}")
    out.parent.mkdir(parents=True, exist_ok=True)
    loads = {path: {kind: [load._asdict() for load in of] for kind, of in by.items()} for path, by in found.items()}
    out.write_text(
        json.dumps({**conditions("benchmarks.prediction_log"), "logged": rows, "loads": loads}, indent=2) + "\n"
    )
    console.print(f"Written to {out}.")


def measure(urls: dict[str, str], path: str, folder: Path, plan: tuple[int, int, int]) -> dict[str, list[Load]]:
    """Loads with the log on and off; which is first changes from turn to turn."""
    repeats, seconds, connections = plan
    loads: dict[str, list[Load]] = {kind: [] for kind in urls}
    for turn in range(repeats):
        for kind in sorted(urls, reverse=bool(turn % 2)):
            port = httpx.URL(urls[kind]).port
            assert port
            requests = folder / f"{kind}.requests"
            write_requests(requests, port, path, ask_for(urls[kind]))
            loads[kind].append(put(port, requests, connections, seconds))
    return loads


def ask_for(url: str) -> list[Request]:
    """A row a request: those that the default model has as examples."""
    default = httpx.get(f"{url}/v1/models").json()["default_model"]
    return [as_rows(row) for row in httpx.get(f"{url}/v1/models/{default}/examples").json()["inputs"]]


def logged(url: str) -> dict[str, float]:
    """Rows so far, by what became of them."""
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return {sample.labels["fate"]: sample.value for sample in samples if sample.name == "dropserve_logged_rows_total"}


def tabulate(found: dict[str, dict[str, list[Load]]]) -> Table:
    """Medians over the turns; the ratio is that of the log to none."""
    table = Table("path", "log", "requests/s", "p50, ms", "p99, ms")
    for path, loads in found.items():
        medians = {kind: middle(of) for kind, of in loads.items()}
        for kind, numbers in medians.items():
            table.add_row(path, kind, *(f"{number:.4g}" for number in numbers))
        ratios = [on / off for on, off in zip(medians["on"], medians["off"], strict=True)]
        table.add_row(path, "on / off", *(f"{ratio:.3f}" for ratio in ratios))
    return table


def middle(loads: Sequence[Load]) -> list[float]:
    """Of each number by itself."""
    return [median(values) for values in zip(*((one.per_second, one.p50_ms, one.p99_ms) for one in loads), strict=True)]


if __name__ == "__main__":
    typer.run(main)
