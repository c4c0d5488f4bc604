"""Time MC dropout's uncertainty beside every peer: `python -m benchmarks.sampling`. Linux only.

Each contender runs in a process of its own environment; they alternate, only one works at a time, and each is verified
before it is timed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.sampling import plot, report
from benchmarks.sampling.cells import Cell
from benchmarks.sampling.contenders import CONTENDERS, OURS, PEERS, REFERENCES
from benchmarks.sampling.measure import Case, measure
from benchmarks.sampling.models import write
from benchmarks.sampling.networks import NETWORKS
from benchmarks.sampling.processes import Absent, all_running, each, install
from benchmarks.sampling.verify import make_reference

BUILD = Path("build")
WORK = BUILD / "sampling"
WIDTH = 280


def main(
    models: Annotated[str, typer.Option(help="Networks, separated by commas.")] = ",".join(NETWORKS),
    rows: Annotated[str, typer.Option(help="Rows of a case.")] = "1,32",
    threads: Annotated[str, typer.Option(help="Threads of each contender.")] = "1,2",
    peers: Annotated[str, typer.Option(help="Peers, separated by commas.")] = ",".join(PEERS),
    passes: Annotated[int, typer.Option(help="Samples a row.", min=2)] = 100,
    repeats: Annotated[int, typer.Option(help="Turns of each contender in each cell.", min=1)] = 7,
    out: Annotated[Path, typer.Option(help="JSON file to write; the plot goes beside it.")] = BUILD / "sampling.json",
    install_only: Annotated[bool, typer.Option("--install-only", help="Only install the peers.")] = False,
) -> None:
    """Install the peers, verify all answers, time them in turn, print tables, write JSON and a plot."""
    chosen, networks = _chosen("--peers", peers, PEERS), _chosen("--models", models, tuple(NETWORKS))
    console, absent = Console(width=WIDTH), Absent()
    with console.status("installing"):
        pythons = each([OURS, REFERENCES, *chosen], absent, lambda peer: install(peer, BUILD / "peers"))
    if not install_only:
        with console.status("weights, graphs and references"):
            cases = [case for name in networks for case in _cases(name, _numbers(rows), passes)]
        contenders = [contender for contender in CONTENDERS if contender.peer in (OURS, *chosen)]
        cells: list[Cell] = []
        versions: dict[str, dict[str, str]] = {}
        for count in _numbers(threads):
            with all_running(pythons, count, WORK, absent) as processes, console.status("") as status:
                versions |= {peer: process.versions for peer, process in processes.items()}
                for case in cases:
                    status.update(f"measuring {case}, threads {count}")
                    cells.append(measure(processes, contenders, case, count, repeats))
        report.print_tables(cells, console)
        report.write_json(out, cells, {"repeats": repeats, "versions": versions, "absent": absent})
        plot.draw(cells, out.with_suffix(".png"))
        console.print(f"Every answer was verified. Written to {out} and {out.with_suffix('.png')}.")
    for reason in absent.values():
        console.print(f"Absent: {reason}")


def _cases(name: str, counts: Sequence[int], passes: int) -> list[Case]:
    """Return a case for each number of rows, of a new network."""
    folder = WORK / name
    write(folder, max(counts))
    reference = make_reference(folder)
    return [Case(folder, count, passes, reference) for count in counts]


def _chosen(option: str, text: str, known: tuple[str, ...]) -> list[str]:
    """Return names between commas."""
    names = [name for name in text.split(",") if name]
    if unknown := sorted(set(names) - set(known)):
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(known)}", param_hint=option)
    return names


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    typer.run(main)
