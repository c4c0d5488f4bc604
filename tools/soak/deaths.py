"""Kill workers and stop services under load, and count lost requests."""

import os
import signal
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from tests.conftest import PATIENCE, wait_until
from tests.service.processes import Service, worker_pids
from tools.soak.overload import canary_service
from tools.soak.report import Report
from tools.soak.traffic import ANSWERED, BY_RULE, LOST, NOT_TAKEN, Outcomes, traffic

RATE = 150.0
"""Requests a second, well below the capacity of two workers."""
BETWEEN = 5.0
"""Seconds between two kills."""
NEAR = 0.5
"""Seconds from a kill within which a lost request is due to it."""


def killed(folder: Path, seconds: float) -> Report:
    """Kill a worker every five seconds; the other answers, and a new one replaces it."""
    deaths: list[tuple[float, float]] = []
    with canary_service(folder) as (running, url, cases):
        with traffic(url, cases, RATE) as outcomes:
            for _ in range(max(1, round(seconds / BETWEEN))):
                sleep(BETWEEN / 2)
                deaths.append(_kill_one(running))
                sleep(BETWEEN / 2)
        started = len(running.said("Application startup complete."))
    lost = [each for each in outcomes if each.end == LOST]
    stray = [each for each in lost if not any(_touches(each.at, each.at + each.seconds, at) for at, _ in deaths)]
    return Report(
        {
            "deaths": len(deaths),
            "requests": len(outcomes),
            "ends": outcomes.table(),
            "lost_a_death": len(lost) / len(deaths),
            "replaced_after_s": max(replaced for _, replaced in deaths),
            "wrong": outcomes.wrong,
            **outcomes.latencies(),
        },
        {
            "no request is lost but those that the killed worker held": not stray,
            "all else is answered, or refused by rule": outcomes.unruly == len(lost),
            "every answer is right to the byte": outcomes.wrong == 0,
            "each killed worker is replaced": started == len(deaths) + 2,
        },
        {"within five seconds": max(replaced for _, replaced in deaths) < 5.0},
    )


def _touches(begin: float, end: float, death: float) -> bool:
    return begin - NEAR < death < end + NEAR


def _kill_one(running: Service) -> tuple[float, float]:
    """Return the time of the kill, and the seconds until the worker was replaced."""
    before, started = worker_pids(running), len(running.said("Application startup complete."))
    at = monotonic()
    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: len(running.said("Application startup complete.")) > started)
    return at, monotonic() - at


def stopped(folder: Path, times: float) -> Report:
    """Stop services under load, so often for each number of workers and each use of connections."""
    lines = [
        _stop_under_load(folder / f"{workers}-{habit}-{number}", workers, keep_alive=habit == "kept")
        for workers in (1, 2)
        for habit in ("kept", "one each")
        for number in range(round(times))
    ]
    return Report(
        {"stops": len(lines), "lines": _sums(lines), "longest_s": max(line["seconds"] for line in lines)},
        {
            "no accepted request is lost": not sum(line["lost"] for line in lines),
            "every answer is right to the byte": not sum(line["wrong"] for line in lines),
            "the service ends with exit code 0": not any(line["code"] for line in lines),
        },
        {"no caller waits at a port without a listener": max(line["not_taken_s"] for line in lines) < 2.0},
    )


def _stop_under_load(folder: Path, workers: int, *, keep_alive: bool) -> dict[str, Any]:
    folder.mkdir()
    with (
        canary_service(folder, workers=workers) as (running, url, cases),
        traffic(url, cases, RATE, keep_alive=keep_alive) as outcomes,
    ):
        sleep(1.5)
        running.process.send_signal(signal.SIGTERM)
        at = monotonic()
        code = running.process.wait(PATIENCE)
        ended = monotonic()
        sleep(0.5)
    connections = "kept alive" if keep_alive else "one a request"
    return {"workers": workers, "connections": connections, "code": code, "seconds": ended - at, **_ends(outcomes)}


def _ends(outcomes: Outcomes) -> dict[str, Any]:
    refused = [each.seconds for each in outcomes if each.end == NOT_TAKEN]
    return {
        "answered": outcomes.count(ANSWERED),
        "refused": outcomes.count(*BY_RULE),
        "lost": outcomes.count(LOST),
        "not_taken": len(refused),
        "not_taken_s": max(refused, default=0.0),
        "wrong": outcomes.wrong,
    }


def _sums(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return sums over all stops of a kind."""
    names = ("answered", "refused", "lost", "not_taken")
    kinds = dict.fromkeys((line["workers"], line["connections"]) for line in lines)
    same = {kind: [line for line in lines if (line["workers"], line["connections"]) == kind] for kind in kinds}
    return [
        {"workers": kind[0], "connections": kind[1], **{name: sum(line[name] for line in found) for name in names}}
        for kind, found in same.items()
    ]
