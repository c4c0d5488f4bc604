"""All that was found → JSON, with what it was found on."""

import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.machine import conditions
from benchmarks.serving.environments import packages
from benchmarks.serving.figures import Key, Table
from benchmarks.serving.goals import Goal
from benchmarks.serving.load import wrk
from benchmarks.serving.measuring import Visit
from benchmarks.serving.plan import Plan
from service import __version__

LIBRARIES = ("httptools", "msgspec", "numpy", "onnxruntime", "orjson", "uvicorn", "uvloop")


def describe(plan: Plan, peers: Sequence[str]) -> dict[str, Any]:
    """What was measured, on what."""
    return {
        **conditions("benchmarks.serving"),
        "plan": plan._asdict(),
        "load": generator(),
        "dropserve": [f"dropserve=={__version__}", *(f"{name}=={version(name)}" for name in LIBRARIES)],
        "peers": {peer: packages(peer) for peer in peers},
    }


def generator() -> str:
    """The load generator's name and version; it ends with status 1 when it tells them."""
    told = subprocess.run([wrk(), "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    return " ".join(told.split()[:2])


def results(
    visits: Sequence[Visit], found: Table, reached: Sequence[Goal], reasons: Mapping[Any, str]
) -> dict[str, Any]:
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
