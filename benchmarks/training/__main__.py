"""Time training beside every peer: `python -m benchmarks.training`. Linux only.

All train the same networks with the same batches, optimiser and number of steps, each in a process of its own
environment; they alternate, only one works at a time, and each is timed only if its loss agrees with Dropserve's.
"""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.sampling.processes import Absent, all_running, each, install
from benchmarks.training import report
from benchmarks.training.contenders import OURS, PEERS
from benchmarks.training.measure import Cell, measure
from benchmarks.training.networks import NETWORKS

BUILD = Path("build")
WORK = BUILD / "training"
HERE = Path(__file__).parent / "peers"


def main(
    networks: Annotated[str, typer.Option(help="Networks, separated by commas.")] = ",".join(NETWORKS),
    peers: Annotated[str, typer.Option(help="Peers, separated by commas.")] = ",".join(PEERS),
    threads: Annotated[int, typer.Option(help="Threads of each contender.", min=1)] = os.cpu_count() or 1,
    steps: Annotated[int, typer.Option(help="Steps of an epoch, which is one turn.", min=1)] = 60,
    repeats: Annotated[int, typer.Option(help="Turns of each contender.", min=1)] = 7,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = BUILD / "training.json",
) -> None:
    """Install the peers, verify that all learn, time them in turn, print a table, write JSON."""
    console, absent = Console(width=120), Absent()
    WORK.mkdir(parents=True, exist_ok=True)
    with console.status("installing"):
        pythons = each(
            [OURS, *_chosen("--peers", peers, PEERS)], absent, lambda one: install(one, BUILD / "peers", HERE)
        )
    cells: list[Cell] = []
    package = f"{__package__}.peers"
    with all_running(pythons, threads, WORK, absent, package) as processes, console.status("") as status:
        for network in _chosen("--networks", networks, tuple(NETWORKS)):
            status.update(f"training {network}")
            cells.append(measure(processes, network, threads, steps, repeats))
        versions = {peer: process.versions for peer, process in processes.items()}
    report.print_table(cells, console)
    report.write_json(out, cells, {"repeats": repeats, "versions": versions, "absent": absent})
    console.print(f"All losses were verified. Written to {out}.")
    for reason in absent.values():
        console.print(f"Absent: {reason}")


def _chosen(option: str, text: str, known: tuple[str, ...]) -> list[str]:
    """Return names separated by commas."""
    names = [name for name in text.split(",") if name]
    if unknown := sorted(set(names) - set(known)):
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(known)}", param_hint=option)
    return names


if __name__ == "__main__":
    typer.run(main)
