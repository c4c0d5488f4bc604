"""Measure Dropserve beside its peers: `python -m benchmarks.serving`.

One server runs at a time, on the machine of the load generator. Contenders take turns, in alternating order, and
medians over repeats are reported.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.serving import subjects
from benchmarks.serving.contenders import CONTENDERS, PEERS, Contender
from benchmarks.serving.environments import install
from benchmarks.serving.failures import NotRun
from benchmarks.serving.figures import Table, summarise
from benchmarks.serving.goals import goals
from benchmarks.serving.load import wrk
from benchmarks.serving.measuring import Visit, visit
from benchmarks.serving.plan import Plan
from benchmarks.serving.record import describe, results
from benchmarks.serving.report import disturbance, goal_table, reasons_table, tables

OURS = "dropserve"
ENVIRONMENTS = Path("build/peers")
MODELS = Path("build/serving")
WIDTH = 170
Reasons = dict[Any, str]
Pythons = dict[str, Path]


def main(
    peers: Annotated[str, typer.Option(help=f"Contenders, some of {', '.join((OURS, *PEERS))}.")] = "all",
    connections: Annotated[str, typer.Option(help="Numbers of connections.")] = "1,8,64",
    models: Annotated[str, typer.Option(help="small, large or both.")] = "small,large",
    workers: Annotated[
        str, typer.Option(help="Numbers of workers; after the first, at most connections only.")
    ] = "1,2",
    seconds: Annotated[int, typer.Option(help="Seconds of each measurement.", min=1)] = 3,
    repeats: Annotated[int, typer.Option(help="Repeats of all measurements.", min=1)] = 5,
    out: Annotated[Path, typer.Option(help="JSON file to write; the plot goes beside it.")] = Path(
        "build/serving.json"
    ),
    install_only: Annotated[bool, typer.Option("--install-only", help="Install the peers and stop.")] = False,
) -> None:
    """Measure, print tables, write them as JSON and draw them."""
    console = Console(width=WIDTH)
    plan = Plan(
        choose("--models", models, list(subjects.SUBJECTS)),
        numbers("--workers", workers),
        sorted(numbers("--connections", connections)),
        seconds,
        repeats,
    )
    if not install_only:
        wrk()
    chosen = choose("--peers", peers, [OURS, *PEERS])
    reasons: Reasons = {}
    pythons = install_all([peer for peer in PEERS if peer in chosen], reasons, console)
    if not install_only:
        contenders = [
            one for one in CONTENDERS if (one.peer or OURS) in (OURS, *pythons) and (one.peer or OURS) in chosen
        ]
        visits = list(measure(plan, contenders, pythons, reasons, console))
        report_results(plan, visits, reasons, list(pythons), out, console)
    elif reasons:
        console.print(reasons_table(reasons))


def choose(option: str, text: str, known: Sequence[str]) -> list[str]:
    """Return names separated by commas."""
    names = list(known) if text == "all" else text.split(",")
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{option}: expected some of {', '.join(known)}, found {name}")
    return names


def numbers(option: str, text: str) -> list[int]:
    """Return numbers separated by commas."""
    if not all(part.isdecimal() and int(part) for part in text.split(",")):
        raise typer.BadParameter(f"{option}: expected whole numbers from 1 with commas between, found {text}")
    return [int(part) for part in text.split(",")]


def install_all(peers: Sequence[str], reasons: Reasons, console: Console) -> Pythons:
    """Return each peer's interpreter; failures are added to the reasons."""
    pythons = {}
    for peer in peers:
        with console.status(f"installing {peer}"):
            try:
                pythons[peer] = install(peer, ENVIRONMENTS).absolute()
            except NotRun as failure:
                reasons[peer] = str(failure)
    return pythons


def measure(
    plan: Plan, contenders: Sequence[Contender], pythons: Pythons, reasons: Reasons, console: Console
) -> Iterator[Visit]:
    """Yield all visits; a failing contender is added to the reasons, and not measured again with that model and
    workers.
    """
    with console.status("publishing models") as status:
        subjects.make(MODELS)
        prepared = {name: subjects.read(MODELS, name) for name in plan.models}
        for model, workers, contender in plan.turns(contenders):
            key = (model, workers, contender.name)
            if key in reasons:
                continue
            status.update(f"measuring {', '.join(map(str, key))}")
            python, counts = pythons.get(contender.peer, Path(sys.executable)), plan.counts(workers)
            try:
                yield visit(contender, python, prepared[model], workers, counts, plan.seconds)
            except NotRun as failure:
                reasons[key] = str(failure)


def report_results(
    plan: Plan, visits: Sequence[Visit], reasons: Reasons, peers: Sequence[str], out: Path, console: Console
) -> None:
    """Report on the terminal, in a file and in a picture."""
    found = summarise(one for one in visits if (one.model, one.workers, one.contender) not in reasons)
    reached = list(goals(found))
    for table in (*tables(found), goal_table(reached)):
        console.print(table)
    if reasons:
        console.print(reasons_table(reasons))
    out.parent.mkdir(parents=True, exist_ok=True)
    content = describe(plan, peers) | results(visits, found, reached, reasons)
    out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    if found:
        console.print(disturbance(found))
        picture(found, out, console)
    console.print(f"Answers were verified before and after each load. Written to {out}.")


def picture(found: Table, out: Path, console: Console) -> None:
    """Draw at the end, as matplotlib must not be in memory while servers are measured."""
    from benchmarks.serving.plot import draw

    for suffix in (".png", ".svg"):
        draw(found, out.with_suffix(suffix))
    console.print(f"Drawn in {out.with_suffix('.png')}.")


if __name__ == "__main__":
    typer.run(main)
