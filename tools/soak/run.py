"""Run all trials for long, and write the results to build/reliability.json:

    python -m tools.soak.run --minutes 10

Overload and swaps take this time each, the other trials a part of it. Needs an idle machine.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import conditions
from tools.soak.callers import callers
from tools.soak.clocks import clocks, libfaketime
from tools.soak.deaths import killed, stopped
from tools.soak.overload import overload
from tools.soak.publishing import publishing
from tools.soak.report import Report
from tools.soak.store import store
from tools.soak.swaps import swaps

BUILD = Path(__file__).parents[2] / "build"


def trials(minutes: float) -> dict[str, Callable[[Path], Report]]:
    """Return the trials by name, each with its time."""
    seconds = 60 * minutes
    every = 10 if minutes >= 2 else 2  # so that each damage occurs
    tried = {
        "overload": lambda folder: overload(folder, seconds),
        "swaps": lambda folder: swaps(folder, seconds, every),
        "killed": lambda folder: killed(folder, seconds / 4),
        "stopped": lambda folder: stopped(folder, max(1.0, minutes)),
        "publishing": publishing,
        "store": lambda folder: store(folder, seconds / 10, 8.0 if minutes >= 2 else 3.0),
        "callers": lambda folder: callers(folder, max(2.0, minutes)),
    }
    return tried | ({"clocks": lambda folder: clocks(folder, seconds / 10)} if libfaketime() else {})


def main(
    minutes: Annotated[float, typer.Option(help="Minutes of overload and of swaps; other trials take less.")] = 10.0,
    only: Annotated[list[str] | None, typer.Option(help="Run only these trials; other results stay.")] = None,
) -> None:
    """Run, print, write; exit code 1 if a rule did not hold."""
    file = BUILD / "reliability.json"
    BUILD.mkdir(exist_ok=True)
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if only and file.exists() else {"trials": {}}
    for name, attempt in trials(minutes).items():
        if only and name not in only:
            continue
        with tempfile.TemporaryDirectory(prefix="dropserve-soak-") as folder:
            report = attempt(Path(folder))
        found["trials"][name] = report._asdict() | {"minutes": minutes}
        found |= conditions("tools.soak.run")
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
        _print(name, report)
    held = [held for trial in found["trials"].values() for held in (trial["rules"] | trial["bounds"]).values()]
    typer.echo(f"{sum(held)} of {len(held)} held; {file}")
    raise typer.Exit(not all(held))


def _print(name: str, report: Report) -> None:
    typer.echo(f"\n{name}")
    for figure, value in report.figures.items():
        if figure == "over_time":
            continue  # only for the picture
        lines = ["", *map(_words, value)] if isinstance(value, list) else [_words(value)]
        typer.echo(f"  {figure}: " + "\n    ".join(lines))
    for rule, held in (report.rules | report.bounds).items():
        typer.echo(f"  {'✓' if held else '✗'} {rule}")


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    typer.run(main)
