"""`python -m benchmarks.playground`: answers a second that the playground shows while a slider moves."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import create_server
from time import sleep
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import conditions
from benchmarks.playground.page import Rate, move, open_playground

SLIDERS = ("Turn", "Add noise", "Drop pixels")
NETWORKS = (1, 100, 1000)


def main(
    models: Annotated[Path, typer.Option(help="Folder of models; the default must be of pictures.")] = Path("models"),
    seconds: Annotated[float, typer.Option(help="How long each slider moves.", min=1)] = 5,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = Path("build/playground.json"),
) -> None:
    """Measure, print a table, write JSON."""
    console = Console(width=120)
    with console.status("measuring"), serve(models) as url, open_playground(url) as page:
        rates = [move(page, slider, networks, seconds) for networks in NETWORKS for slider in SLIDERS]
    console.print(tabulate(rates))
    out.parent.mkdir(parents=True, exist_ok=True)
    described = {**conditions("benchmarks.playground"), "rates": [rate._asdict() for rate in rates]}
    out.write_text(json.dumps(described, indent=2) + "\n")
    console.print(f"Written to {out}.")


@contextmanager
def serve(models: Path, **environment: str) -> Iterator[str]:
    """A service of its own on a free port, as `python -m service serve` starts it; its address."""
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "service", "serve", "--models", str(models), "--port", str(port)]
    process = subprocess.Popen(  # noqa: S603 - our own
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | environment
    )
    try:
        url = f"http://127.0.0.1:{port}"
        while not is_ready(url):
            if process.poll() is not None:
                raise SystemExit(f"the service ended with exit code {process.returncode}")
            sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def is_ready(url: str) -> bool:
    """Whether models are served there."""
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def tabulate(rates: Sequence[Rate]) -> Table:
    """A row for each."""
    table = Table("slider", "networks", "answers a second", "frames a second")
    for rate in rates:
        figures = (f"{rate.answers_per_second:.1f}", f"{rate.frames_per_second:.1f}")
        table.add_row(rate.slider, str(rate.networks), *figures)
    return table


if __name__ == "__main__":
    typer.run(main)
