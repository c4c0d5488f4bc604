"""Time the spread of thinned networks beside every peer: `python -m benchmarks.sampling`. Linux only.

Each contender works in a process of its own environment; they alternate, only one works at a time, and none
is timed before its answer was found right.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.sampling import plot, report
from benchmarks.sampling.contenders import CONTENDERS, OURS, REFERENCES, DoesNotRun, Process, install, running
from benchmarks.sampling.measure import Question, measure
from benchmarks.sampling.models import write
from benchmarks.sampling.networks import NETWORKS
from benchmarks.sampling.verify import make_reference

BUILD = Path("build")
PEERS = tuple(dict.fromkeys(contender.peer for contender in CONTENDERS if contender.peer != OURS))


def main(
    models: Annotated[str, typer.Option(help="Networks, with commas between.")] = ",".join(NETWORKS),
    rows: Annotated[str, typer.Option(help="Rows of a question.")] = "1,32",
    threads: Annotated[str, typer.Option(help="Threads that everyone may use.")] = "1,2",
    peers: Annotated[str, typer.Option(help="Whom to compare with.")] = ",".join(PEERS),
    passes: Annotated[int, typer.Option(help="Thinned networks to ask.", min=2)] = 100,
    repeats: Annotated[int, typer.Option(help="Turns that everyone gets in each cell.", min=1)] = 9,
    out: Annotated[Path, typer.Option(help="JSON file to write; the plot goes beside it.")] = BUILD / "sampling.json",
    install_only: Annotated[bool, typer.Option("--install-only", help="Make the peers' environments only.")] = False,
) -> None:
    """Install the peers, verify everyone's answers, time them in turn, print tables, write JSON and a plot."""
    console = Console(width=250)
    peer_names, networks = _chosen("--peers", peers, PEERS), _chosen("--models", models, tuple(NETWORKS))
    counts, thread_counts = _numbers(rows), _numbers(threads)
    with console.status("installing") as status:
        absent: dict[str, str] = {}
        pythons = _install([OURS, REFERENCES, *peer_names], absent)
        if install_only:
            return _tell(console, absent)
        questions = []
        for name in networks:
            status.update(f"{name}: weights, graphs and reference")
            write(BUILD / "sampling" / name, max(counts))
            reference = make_reference(BUILD / "sampling" / name)
            questions += [Question(BUILD / "sampling" / name, count, passes, reference) for count in counts]
        cells, versions = [], {}
        for n in thread_counts:
            with ExitStack() as stack:
                processes = _start(stack, pythons, n, absent)
                versions |= {peer: process.versions for peer, process in processes.items()}
                contenders = [c for c in CONTENDERS if c.peer in processes and c.peer in (OURS, *peer_names)]
                for question in questions:
                    status.update(f"{question.folder.name}, rows {question.rows}, threads {n}")
                    cells.append(measure(processes, contenders, question, n, repeats))
    report.print_tables(cells, console)
    _tell(console, absent)
    report.write_json(out, cells, {"repeats": repeats, "versions": versions, "absent": absent})
    plot.draw(cells, out.with_suffix(".png"))
    console.print(f"Every answer was verified. Written to {out} and {out.with_suffix('.png')}.")


def _install(peers: list[str], absent: dict[str, str]) -> dict[str, Path]:
    """The Python of each; whoever cannot be installed is added to `absent`."""
    pythons = {}
    for peer in dict.fromkeys(peers):
        try:
            pythons[peer] = install(peer, BUILD / "peers")
        except DoesNotRun as error:
            absent[peer] = str(error)
    return pythons


def _start(stack: ExitStack, pythons: Mapping[str, Path], threads: int, absent: dict[str, str]) -> dict[str, Process]:
    """Everyone's process; whoever does not start is added to `absent`."""
    processes = {}
    for peer, python in pythons.items():
        try:
            processes[peer] = stack.enter_context(running(peer, python, threads, BUILD / "sampling" / f"{peer}.log"))
        except DoesNotRun as error:
            absent[peer] = str(error)
    if missing := {OURS, REFERENCES} - set(processes):
        raise SystemExit(f"Nothing can be measured without {absent[missing.pop()]}")
    return processes


def _tell(console: Console, absent: Mapping[str, str]) -> None:
    for reason in absent.values():
        console.print(f"Absent: {reason}")


def _chosen(option: str, text: str, known: tuple[str, ...]) -> list[str]:
    """Names with commas between; none is none."""
    names = [name for name in text.split(",") if name]
    if unknown := sorted(set(names) - set(known)):
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(known)}", param_hint=option)
    return names


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    typer.run(main)
