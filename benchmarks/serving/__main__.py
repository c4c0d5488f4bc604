"""Measure Dropserve beside its peers: `python -m benchmarks.serving`.

One server runs at a time, on the machine of the load generator. Contenders take turns, in alternating order, and
medians over repeats are reported.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.serving import installing, subjects
from benchmarks.serving.baseline import short_hash
from benchmarks.serving.contenders import BASELINE, CONTENDERS, OURS, PEERS, Contender, at_commit
from benchmarks.serving.failures import NotRun
from benchmarks.serving.figures import Table, summarise
from benchmarks.serving.goals import goals
from benchmarks.serving.load import wrk
from benchmarks.serving.measuring import Visit, visit
from benchmarks.serving.plan import Plan
from benchmarks.serving.record import describe, results
from benchmarks.serving.report import disturbance, goal_table, reasons_table, tables
from benchmarks.serving.servers import ROOT, Installed

WIDTH = 170
Reasons = dict[Any, str]
Servers = dict[str, Installed]


def main(
    baseline: Annotated[
        str, typer.Option(metavar="COMMIT", help="Commit whose build is measured beside this one.")
    ] = "",
    peers: Annotated[str, typer.Option(help=f"Peers: all, none, or some of {', '.join(PEERS)}.")] = "all",
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
    install_only: Annotated[bool, typer.Option("--install-only", help="Install the servers and stop.")] = False,
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
    chosen = choose("--peers", peers, PEERS)
    if not install_only:
        wrk()
    reasons: Reasons = {}
    try:
        commit = short_hash(ROOT, baseline) if baseline else ""
        servers = install(commit, chosen, reasons, console)
    except NotRun as failure:
        raise SystemExit(str(failure)) from None
    if install_only:
        if reasons:
            console.print(reasons_table(reasons))
        return
    order = list(servers)
    found = (one for one in (*CONTENDERS, *at_commit(commit)) if one.server in servers)
    contenders = sorted(found, key=lambda one: order.index(one.server))
    visits = list(measure(plan, contenders, servers, reasons, console))
    report_results(plan, visits, reasons, order, commit, out, console)


def choose(option: str, text: str, known: Sequence[str]) -> list[str]:
    """Return names separated by commas."""
    names = {"all": list(known), "none": []}.get(text, text.split(","))
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{option}: expected some of {', '.join(known)}, found {name}")
    return names


def numbers(option: str, text: str) -> list[int]:
    """Return numbers separated by commas."""
    if not all(part.isdecimal() and int(part) for part in text.split(",")):
        raise typer.BadParameter(f"{option}: expected whole numbers from 1 with commas between, found {text}")
    return [int(part) for part in text.split(",")]


def install(commit: str, peers: Sequence[str], reasons: Reasons, console: Console) -> Servers:
    """Return what each server runs on; failures of peers are added to the reasons.

    Raises NotRun if one of our own builds cannot be made.
    """
    with console.status("installing") as status:
        servers = {OURS: installing.ours()}
        if commit:
            status.update(f"installing the build of {commit}")
            servers[BASELINE] = installing.baseline(commit)
        for peer in peers:
            status.update(f"installing {peer}")
            try:
                servers[peer] = installing.peer(peer)
            except NotRun as failure:
                reasons[peer] = str(failure)
    return servers


def measure(
    plan: Plan, contenders: Sequence[Contender], servers: Servers, reasons: Reasons, console: Console
) -> Iterator[Visit]:
    """Yield all visits; a failing contender is added to the reasons, and not measured again with that model and
    workers.
    """
    with console.status("measuring") as status:
        for model, workers, contender in plan.turns(contenders):
            key = (model, workers, contender.name)
            if key in reasons:
                continue
            status.update(f"measuring {', '.join(map(str, key))}")
            installed, counts = servers[contender.server], plan.counts(workers)
            prepared = subjects.read(installed.subjects, model)
            try:
                yield visit(contender, installed, prepared, workers, counts, plan.seconds)
            except NotRun as failure:
                reasons[key] = str(failure)


def report_results(
    plan: Plan,
    visits: Sequence[Visit],
    reasons: Reasons,
    servers: Sequence[str],
    commit: str,
    out: Path,
    console: Console,
) -> None:
    """Report on the terminal, in a file and in a picture."""
    found = summarise(one for one in visits if (one.model, one.workers, one.contender) not in reasons)
    reached = list(goals(found, commit or "COMMIT"))
    for table in (*tables(found), goal_table(reached)):
        console.print(table)
    if reasons:
        console.print(reasons_table(reasons))
    out.parent.mkdir(parents=True, exist_ok=True)
    content = describe(plan, [name for name in servers if name in PEERS], commit) | results(
        visits, found, reached, reasons
    )
    out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    if found:
        console.print(disturbance(found))
        picture(found, out, console)
    console.print(f"Measured on {content['machine']}.")
    console.print(f"Answers were verified before and after each load. Written to {out}.")


def picture(found: Table, out: Path, console: Console) -> None:
    """Draw at the end, as matplotlib must not be in memory while servers are measured."""
    from benchmarks.serving.plot import draw

    for suffix in (".png", ".svg"):
        draw(found, out.with_suffix(suffix))
    console.print(f"Drawn in {out.with_suffix('.png')}.")


if __name__ == "__main__":
    typer.run(main)
