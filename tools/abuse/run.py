"""Run damaged and hostile input of all kinds, and report a table and JSON.

    python -m tools.abuse.run --inputs 1000000 --output build/abuse.json

The exit code is 1 after any fault.
"""

import asyncio
import json
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from service.access.keys import make_key
from tests.service.processes import Service, service
from tests.toy import ToyNet
from tools.abuse.grpc_storm import grpc_storm
from tools.abuse.key_timing import BOUND, spread_of_medians
from tools.abuse.mutations import mutate
from tools.abuse.onnx_mutants import load_mutants
from tools.abuse.parsers import PARSERS, Parser, survives
from tools.abuse.storm import REQUEST_TIMEOUT, storm

T = TypeVar("T")

SLOW = 5.0
"""Seconds for one input of a parser that count as a fault."""

MAX_FAULTS_KEPT = 100

SHARES = {"parsers": 0.35, "http": 0.4, "grpc": 0.04, "coverage": 0.2, "onnx": 0.01}
"""Shares of all inputs."""


@dataclass
class Part:
    """Results of one kind of input."""

    name: str
    inputs: int
    seconds: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    slowest: float | None = None
    """Seconds of the slowest input."""
    faults: list[str] = field(default_factory=list)


def fuzz_parser(name: str, parser: Parser, inputs: int, seed: int = 0) -> Part:
    """Run the parser on damaged copies of its seeds, in this process."""
    rng = random.Random(f"{seed} {name}")
    outcomes: Counter[str] = Counter()
    part = Part(name, inputs, slowest=0.0)
    began = perf_counter()
    for _ in range(inputs):
        content = mutate(rng.choice(parser.seeds), rng, parser.seeds)
        started = perf_counter()
        try:
            outcomes["taken" if survives(parser, content) else "refused"] += 1
        except Exception as error:  # noqa: BLE001 - any error is a fault
            part.faults.append(f"{error!r}: {content!r}")
        taken = perf_counter() - started
        part.slowest = max(part.slowest or 0.0, taken)
        if taken > SLOW:
            part.faults.append(f"took {taken:.1f} s: {content!r}")
    part.seconds, part.outcomes = perf_counter() - began, dict(outcomes)
    return part


@contextmanager
def guarded_service(folder: Path) -> Iterator[tuple[Service, str]]:
    """Run the service with low limits; yield it and a key of scope infer."""
    secret, key = make_key("caller", "infer")
    (folder / "keys").write_text(key.line() + "\n")
    ToyNet().publish(folder / "models")
    ToyNet(seed=1).publish(folder / "models", version=2)
    settings = {
        "models": folder / "models",
        "api_keys": folder / "keys",
        "request_timeout": REQUEST_TIMEOUT,
        "grpc_port": 0,
        "max_row_samples": 2000,
        "max_body_bytes": 2**16,
    }
    with service(folder, **{f"DROPSERVE_{name.upper()}": str(value) for name, value in settings.items()}) as running:
        yield running, secret


def attack_service(http: int, grpc: int, seed: int = 0) -> list[Part]:
    """Send requests over HTTP and gRPC; the process must survive, and log no unexpected error."""
    with tempfile.TemporaryDirectory(prefix="abuse-") as name, guarded_service(Path(name)) as (running, key):
        host, port = "127.0.0.1", running.client.base_url.port or 0
        parts = []
        over_http = timed(lambda: asyncio.run(storm(host, port, key, http, seed)))
        over_grpc = timed(lambda: grpc_storm(f"{host}:{running.said('gRPC listens')[0]['port']}", key, grpc, seed))
        for what, (outcome, seconds) in (("HTTP, a real server", over_http), ("gRPC, a real server", over_grpc)):
            slowest = outcome.slowest or None
            parts.append(
                Part(what, outcome.inputs, seconds, dict(outcome.statuses.most_common()), slowest, outcome.faults)
            )
        parts[0].faults += [f"logged: {line}" for line in running.said("unexpected error")]
        if running.stop() != 0:
            parts[0].faults.append("the server did not end well")
        return parts


def fuzz_by_coverage(runs: int) -> Part:
    """Run atheris in its own process."""
    with tempfile.TemporaryDirectory(prefix="abuse-") as name:
        corpus = Path(name) / "corpus"
        corpus.mkdir()
        command = [sys.executable, "-m", "tools.abuse.coverage_guided", str(runs), str(corpus)]
        done, seconds = timed(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
        part = Part("v2 decoder, by coverage (atheris)", runs, seconds)
        covered = re.findall(r"cov: (\d+)", done.stderr)
        part.outcomes = {"corpus": len(list(corpus.iterdir())), "branches": int(covered[-1]) if covered else 0}
        if done.returncode or f"Done {runs} runs" not in done.stderr:
            part.faults.append(done.stderr[-2000:])
        return part


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return the result and the seconds."""
    started = perf_counter()
    return work(), perf_counter() - started


def run(inputs: int, seed: int = 0) -> list[Part]:
    """Run all kinds."""
    share = {name: max(1, round(inputs * part)) for name, part in SHARES.items()}
    each = share["parsers"] // len(PARSERS) + 1
    return [
        *(fuzz_parser(name, parser, each, seed) for name, parser in PARSERS.items()),
        *attack_service(share["http"], share["grpc"], seed),
        fuzz_by_coverage(share["coverage"]),
        load_hostile_models(share["onnx"], seed),
        time_keys(share["onnx"], seed),
    ]


def load_hostile_models(files: int, seed: int) -> Part:
    """Load hostile models in bounded processes."""
    (outcomes, faults), seconds = timed(lambda: load_mutants(files, seed))
    return Part("ONNX files, hostile", files, seconds, dict(outcomes), None, faults)


def time_keys(trials: int, seed: int) -> Part:
    """Time the lookup of keys; only many trials are significant."""
    spread, seconds = timed(lambda: spread_of_medians(trials, seed))
    faults = [f"the medians lie {spread:.0%} apart"] if spread > BOUND else []
    outcomes = {"medians apart, in 1000": round(1000 * spread)}
    return Part("comparison of keys, timed", trials, seconds, outcomes, None, faults)


def show(parts: list[Part]) -> None:
    """Print the results as a table."""
    table = Table("input", "inputs", "seconds", "slowest", "faults", "outcomes")
    for part in parts:
        slowest = "" if part.slowest is None else f"{1000 * part.slowest:.0f} ms"
        outcomes = ", ".join(f"{name} {count}" for name, count in part.outcomes.items())
        table.add_row(part.name, f"{part.inputs:,}", f"{part.seconds:.1f}", slowest, str(len(part.faults)), outcomes)
    inputs, seconds = sum(part.inputs for part in parts), sum(part.seconds for part in parts)
    table.add_row("all", f"{inputs:,}", f"{seconds:.1f}", "", str(sum(len(part.faults) for part in parts)))
    Console(width=160).print(table)


def main(
    inputs: Annotated[int, typer.Option(help="Approximate number of inputs of all kinds.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Seed of the inputs.")] = 0,
    output: Annotated[Path | None, typer.Option(help="JSON file of the results.")] = None,
) -> None:
    """Damaged and hostile input of all kinds."""
    parts = run(inputs, seed)
    show(parts)
    for part in parts:
        for fault in part.faults[:5]:
            print(f"{part.name}: {fault[:500]}", file=sys.stderr)  # noqa: T201
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        kept = [asdict(part) | {"faults": part.faults[:MAX_FAULTS_KEPT]} for part in parts]
        output.write_text(json.dumps({"inputs": sum(part.inputs for part in parts), "parts": kept}, indent=2) + "\n")
    raise typer.Exit(any(part.faults for part in parts))


if __name__ == "__main__":
    typer.run(main)
