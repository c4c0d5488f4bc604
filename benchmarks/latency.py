"""How long a caller waits for a served model's answer, every answer verified: `make bench`.

One client asks one request at a time over one connection, of `python -m service serve` in a process of its
own. So this is latency without load, HTTP and JSON included; it says nothing of throughput.
"""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from service.api.replies import encode_prediction, encode_uncertainty
from service.engine import Engine
from service.loading import load_model
from service.masks import MaskCache
from service.sampling import Sampling

MASK_BYTES = 2**26
LIBRARIES = ("numpy", "onnxruntime", "uvicorn")


class Case(NamedTuple):
    """A kind of request. `samples` 0 is /predict."""

    rows: int
    samples: int = 0
    new_seeds: bool = False
    """A seed that was not used before with each request, so that its masks must be drawn."""

    def __str__(self) -> str:
        samples = f", {self.samples} samples" if self.samples else ""
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        return f"{self.verb}: {rows}{samples}{', new seeds' if self.new_seeds else ''}"

    @property
    def verb(self) -> str:
        """What is asked of the model."""
        return "uncertainty" if self.samples else "predict"


CASES = (Case(1), Case(32), Case(1, 100), Case(1, 100, new_seeds=True), Case(32, 100), Case(32, 100, new_seeds=True))


def main(
    model: Annotated[Path, typer.Option(help="Folder of the model to serve.")] = Path("models/digits/1"),
    requests: Annotated[int, typer.Option(help="Requests of each kind.", min=1)] = 1000,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = Path("build/latency.json"),
) -> None:
    """Serve a model, measure, print a table and write it as JSON."""
    engine = load_model(model, MaskCache(MASK_BYTES))
    console = Console()
    table = Table("request", "p50 ms", "p99 ms", title=f"{engine.manifest.name}/{engine.manifest.version}")
    measured = []
    with serving(model.parent.parent, engine) as connection, console.status("measuring"):
        for case in CASES:
            milliseconds = 1e3 * np.array(list(measure(connection, engine, case, requests)))
            p50, p99 = np.percentile(milliseconds, [50, 99])
            table.add_row(str(case), f"{p50:.3f}", f"{p99:.3f}")
            measured.append(case._asdict() | {"verb": case.verb, "p50_ms": p50, "p99_ms": p99})
    console.print(table)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(describe(engine, requests) | {"measured": measured}, indent=2) + "\n")
    console.print(f"Every answer was the model's own. Written to {out}.")


def measure(connection: HTTPConnection, engine: Engine, case: Case, requests: int) -> Iterator[float]:
    """Seconds that each request took, connection made before; raises SystemExit on an answer that is not the model's.

    The first tenth warms up and is left out.
    """
    inputs = {name: np.resize(array, (case.rows, *array.shape[1:])) for name, array in engine.examples.items()}
    body: dict[str, Any] = {"inputs": {name: array.tolist() for name, array in inputs.items()}}
    path = f"/v1/models/{engine.manifest.name}/versions/{engine.manifest.version}/{case.verb}"
    warm_up = requests // 10
    for number in range(warm_up + requests):
        seed = number if case.new_seeds else 0
        asked = json.dumps(body | ({"samples": case.samples, "seed": seed} if case.samples else {}))
        start = perf_counter()
        connection.request("POST", path, asked, {"content-type": "application/json"})
        answer = connection.getresponse().read()
        seconds = perf_counter() - start
        if answer != expected(engine, inputs, case, seed):
            raise SystemExit(f"{case}: the answer is not the model's: {answer[:200]!r}")
        if number >= warm_up:
            yield seconds


def expected(engine: Engine, inputs: dict[str, Any], case: Case, seed: int) -> bytes:
    """What the model answers in this process."""
    if not case.samples:
        return encode_prediction(engine.manifest, engine.predict(inputs))
    sampling = Sampling(case.samples, seed)
    return encode_uncertainty(engine.manifest, sampling, engine.sample(inputs, sampling))


@contextmanager
def serving(models: Path, engine: Engine) -> Iterator[HTTPConnection]:
    """A connection to a service of these models, in a process of its own."""
    command = [sys.executable, "-m", "service", "serve", "--models", str(models), "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            yield connect(process, f"{engine.manifest.name}/{engine.manifest.version}")
        finally:
            process.terminate()


def connect(process: subprocess.Popen[str], model: str) -> HTTPConnection:
    """To where the service says it listens, once it says that the model is loaded too."""
    assert process.stderr is not None
    port, loaded, said = 0, False, ""
    for line in process.stderr:
        said += line
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
            port = int(found[1])
        loaded |= "model loaded" in line and model in line
        if port and loaded:
            return HTTPConnection("127.0.0.1", port, timeout=60)
    raise SystemExit(said)


def describe(engine: Engine, requests: int) -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "model": f"{engine.manifest.name}/{engine.manifest.version}",
        "requests": requests,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


if __name__ == "__main__":
    typer.run(main)
