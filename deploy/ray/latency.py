"""Measure the latency of one large request and of small ones, on any running service.

python -m deploy.ray.latency http://127.0.0.1:8000 --model mnist --rows 1000 --samples 1000
"""

import hashlib
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import httpx
import typer

SMALL = 300
"""Number of requests of one row, sent one after another."""


def main(
    url: str,
    model: Annotated[str, typer.Option(help="The model.")] = "mnist",
    rows: Annotated[int, typer.Option(min=1, help="Rows of the large request.")] = 1000,
    samples: Annotated[int, typer.Option(min=1, help="Samples of the large request.")] = 1000,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions, of which the median is printed.")] = 5,
) -> None:
    """Send the requests, and print the seconds they took and a digest of the large answer."""
    with httpx.Client(base_url=f"{url}/v1/models/{model}", timeout=300) as client:
        examples = client.get("/examples").raise_for_status().json()["inputs"]
        many = (examples * (rows // len(examples) + 1))[:rows]
        large, answer = _send(client, "/uncertainty", {"inputs": many, "samples": samples}, repeats)
        small, _ = _send(client, "/predict", {"inputs": examples[:1]}, SMALL)
    typer.echo(f"{rows} rows x {samples} passes: {large:.2f} s, SHA-256 {hashlib.sha256(answer).hexdigest()[:16]}")
    typer.echo(f"one row: {1000 * small:.2f} ms")


def _send(client: httpx.Client, path: str, body: dict[str, Any], repeats: int) -> tuple[float, bytes]:
    """Return the median of the seconds and the answer; the first request, which warms up, is not counted."""
    taken = []
    for _ in range(repeats + 1):
        started = perf_counter()
        answer = client.post(path, json=body).raise_for_status().content
        taken.append(perf_counter() - started)
    return median(taken[1:]), answer


if __name__ == "__main__":
    typer.run(main)
