"""Measure Dropserve beside its peers: `python -m benchmarks.serving`.

One server runs at a time, on the machine that also makes the load. Contenders take turns, the order is turned
round at each repeat, and medians over repeats are told.
"""

import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console

from benchmarks.serving import subjects
from benchmarks.serving.contenders import CONTENDERS, PEERS, Contender
from benchmarks.serving.environments import install, packages
from benchmarks.serving.failures import NotRun
from benchmarks.serving.figures import Key, Table, summarise
from benchmarks.serving.goals import Goal, goals
from benchmarks.serving.load import wrk
from benchmarks.serving.measuring import Visit, visit
from benchmarks.serving.report import goal_table, reasons_table, tables

OURS = "dropserve"
ENVIRONMENTS = Path("build/peers")
MODELS = Path("build/serving")
WIDTH = 170
Reasons = dict[Any, str]
Pythons = dict[str, Path]


class Plan(NamedTuple):
    """What is measured, and for how long."""

    models: list[str]
    workers: list[int]
    connections: list[int]
    seconds: int
    repeats: int

    def turns(self, contenders: Sequence[Contender]) -> Iterator[tuple[str, int, Contender]]:
        """Who comes when: every contender once before any comes again."""
        for model in self.models:
            for workers in self.workers:
                for repeat in range(self.repeats):
                    for contender in contenders[:: -1 if repeat % 2 else 1]:
                        yield model, workers, contender

    def counts(self, workers: int) -> list[int]:
        """All numbers of connections for the first number of workers, for others the highest."""
        return self.connections if workers == self.workers[0] else self.connections[-1:]


def main(
    peers: Annotated[str, typer.Option(help=f"Whom to measure, of {', '.join((OURS, *PEERS))}.")] = "all",
    connections: Annotated[str, typer.Option(help="Numbers of connections.")] = "1,8,64",
    models: Annotated[str, typer.Option(help="small, large or both.")] = "small,large",
    workers: Annotated[
        str, typer.Option(help="Numbers of workers; after the first, at most connections only.")
    ] = "1,2",
    seconds: Annotated[int, typer.Option(help="Of each measurement.", min=1)] = 3,
    repeats: Annotated[int, typer.Option(help="Of all of it.", min=1)] = 5,
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
    chosen = choose("--peers", peers, [OURS, *PEERS])
    reasons: Reasons = {}
    pythons = install_all([peer for peer in PEERS if peer in chosen], reasons, console)
    if not install_only:
        wrk()
        contenders = [
            one for one in CONTENDERS if (one.peer or OURS) in (OURS, *pythons) and (one.peer or OURS) in chosen
        ]
        visits = list(measure(plan, contenders, pythons, reasons, console))
        tell(plan, visits, reasons, list(pythons), out, console)
    elif reasons:
        console.print(reasons_table(reasons))


def choose(option: str, text: str, known: Sequence[str]) -> list[str]:
    """Names from a list with commas."""
    names = list(known) if text == "all" else text.split(",")
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{option}: expected some of {', '.join(known)}, found {name}")
    return names


def numbers(option: str, text: str) -> list[int]:
    """Numbers from a list with commas."""
    if not all(part.isdecimal() and int(part) for part in text.split(",")):
        raise typer.BadParameter(f"{option}: expected whole numbers from 1 with commas between, found {text}")
    return [int(part) for part in text.split(",")]


def install_all(peers: Sequence[str], reasons: Reasons, console: Console) -> Pythons:
    """Each peer's interpreter; who cannot be installed is among the reasons instead."""
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
    """All visits; who fails is among the reasons, and not visited again with that model and workers."""
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


def tell(
    plan: Plan, visits: Sequence[Visit], reasons: Reasons, peers: Sequence[str], out: Path, console: Console
) -> None:
    """On the terminal, in a file, in a picture."""
    found = summarise(one for one in visits if (one.model, one.workers, one.contender) not in reasons)
    reached = list(goals(found))
    for table in (*tables(found), goal_table(reached)):
        console.print(table)
    if reasons:
        console.print(reasons_table(reasons))
    out.parent.mkdir(parents=True, exist_ok=True)
    content = describe(plan, peers) | results(visits, found, reached, reasons)
    out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    console.print(f"Every answer was verified before and after. Written to {out}.")
    if found:
        picture(found, out, console)


def picture(found: Table, out: Path, console: Console) -> None:
    """Drawn at the end: what draws must not lie in memory while servers are measured."""
    from benchmarks.serving.plot import draw

    for suffix in (".png", ".svg"):
        draw(found, out.with_suffix(suffix))
    console.print(f"Drawn in {out.with_suffix('.png')}.")


def describe(plan: Plan, peers: Sequence[str]) -> dict[str, Any]:
    """What was measured, on what."""
    return {
        "command": " ".join(["python -m benchmarks.serving", *sys.argv[1:]]),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {processor()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "plan": plan._asdict(),
        "packages": {peer: packages(peer) for peer in peers},
    }


def processor() -> str:
    """Its name, where the system tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown processor")


def results(visits: Sequence[Visit], found: Table, reached: Sequence[Goal], reasons: Reasons) -> dict[str, Any]:
    """Everything, the single visits too."""

    def named(key: Key) -> dict[str, Any]:
        return dict(zip(("model", "workers", "contender"), key, strict=True))

    def line(key: Key) -> dict[str, Any]:
        figures = found[key]
        return named(key) | figures._asdict() | {"at": {count: at._asdict() for count, at in figures.at.items()}}

    def single(one: Visit) -> dict[str, Any]:
        measured = [each._asdict() | {"load": each.load._asdict()} for each in one.measured]
        return one._asdict() | {"measured": measured}

    return {
        "medians": [line(key) for key in found],
        "goals": [goal._asdict() | {"met": goal.met} for goal in reached],
        "not_run": [
            (named(what) if isinstance(what, tuple) else {"peer": what}) | {"reason": reason}
            for what, reason in reasons.items()
        ],
        "visits": [single(one) for one in visits],
    }


if __name__ == "__main__":
    typer.run(main)
