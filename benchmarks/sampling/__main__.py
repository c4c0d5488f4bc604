"""Time the spread of thinned networks beside every peer: `python -m benchmarks.sampling`. Linux only.

Each contender works in a process of its own environment; they alternate, only one works at a time, and none
is timed before its answer was found right.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.sampling import plot, report
from benchmarks.sampling.cells import Cell
from benchmarks.sampling.contenders import CONTENDERS, OURS, PEERS, REFERENCES
from benchmarks.sampling.measure import Question, measure
from benchmarks.sampling.models import write
from benchmarks.sampling.networks import NETWORKS
from benchmarks.sampling.processes import Absent, all_running, each, install
from benchmarks.sampling.verify import make_reference

BUILD = Path("build")
WORK = BUILD / "sampling"
WIDTH = 280


def main(
    models: Annotated[str, typer.Option(help="Networks, with commas between.")] = ",".join(NETWORKS),
    rows: Annotated[str, typer.Option(help="Rows of a question.")] = "1,32",
    threads: Annotated[str, typer.Option(help="Threads that everyone may use.")] = "1,2",
    peers: Annotated[str, typer.Option(help="Whom to compare with.")] = ",".join(PEERS),
    passes: Annotated[int, typer.Option(help="Thinned networks to ask.", min=2)] = 100,
    repeats: Annotated[int, typer.Option(help="Turns that everyone gets in each cell.", min=1)] = 7,
    out: Annotated[Path, typer.Option(help="JSON file to write; the plot goes beside it.")] = BUILD / "sampling.json",
    install_only: Annotated[bool, typer.Option("--install-only", help="Make the peers' environments only.")] = False,
) -> None:
    """Install the peers, verify everyone's answers, time them in turn, print tables, write JSON and a plot."""
    chosen, networks = _chosen("--peers", peers, PEERS), _chosen("--models", models, tuple(NETWORKS))
    console, absent = Console(width=WIDTH), Absent()
    with console.status("installing"):
        pythons = each([OURS, REFERENCES, *chosen], absent, lambda peer: install(peer, BUILD / "peers"))
    if not install_only:
        with console.status("weights, graphs and references"):
            questions = [question for name in networks for question in _questions(name, _numbers(rows), passes)]
        contenders = [contender for contender in CONTENDERS if contender.peer in (OURS, *chosen)]
        cells: list[Cell] = []
        versions: dict[str, dict[str, str]] = {}
        for count in _numbers(threads):
            with all_running(pythons, count, WORK, absent) as processes, console.status("") as status:
                versions |= {peer: process.versions for peer, process in processes.items()}
                for question in questions:
                    status.update(f"measuring {question}, threads {count}")
                    cells.append(measure(processes, contenders, question, count, repeats))
        report.print_tables(cells, console)
        report.write_json(out, cells, {"repeats": repeats, "versions": versions, "absent": absent})
        plot.draw(cells, out.with_suffix(".png"))
        console.print(f"Every answer was verified. Written to {out} and {out.with_suffix('.png')}.")
    for reason in absent.values():
        console.print(f"Absent: {reason}")


def _questions(name: str, counts: Sequence[int], passes: int) -> list[Question]:
    """For each number of rows, of a network made anew."""
    folder = WORK / name
    write(folder, max(counts))
    reference = make_reference(folder)
    return [Question(folder, count, passes, reference) for count in counts]


def _chosen(option: str, text: str, known: tuple[str, ...]) -> list[str]:
    """Names with commas between."""
    names = [name for name in text.split(",") if name]
    if unknown := sorted(set(names) - set(known)):
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(known)}", param_hint=option)
    return names


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    typer.run(main)
