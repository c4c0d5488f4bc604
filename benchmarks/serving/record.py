"""Record all results and their conditions as JSON."""

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.machine import conditions
from benchmarks.serving.environments import of_peer, of_tree
from benchmarks.serving.figures import Key, Table
from benchmarks.serving.goals import Goal
from benchmarks.serving.load import wrk
from benchmarks.serving.measuring import Visit
from benchmarks.serving.plan import Plan
from benchmarks.serving.servers import ROOT
from service import __version__

LIBRARIES = ("httptools", "msgspec", "numpy", "onnxruntime", "orjson", "uvicorn", "uvloop")


def describe(plan: Plan, peers: Sequence[str], commit: str) -> dict[str, Any]:
    """Return the plan and its conditions."""
    pinned = of_tree(ROOT).constraints.splitlines()
    return {
        **conditions("benchmarks.serving"),
        "plan": plan._asdict(),
        "load": generator(),
        "dropserve": [f"dropserve=={__version__}", *(line for line in pinned if line.partition("==")[0] in LIBRARIES)],
        "baseline": commit,
        "peers": {peer: of_peer(peer).packages for peer in peers},
    }


def generator() -> str:
    """Return the load generator's name and version, which it prints with exit status 1."""
    printed = subprocess.run([wrk(), "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    return " ".join(printed.split()[:2])


def results(
    visits: Sequence[Visit], found: Table, reached: Sequence[Goal], reasons: Mapping[Any, str]
) -> dict[str, Any]:
    """Return all results, with single visits."""

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
