"""Workers killed and services told to stop, under load: whose requests are lost."""

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
"""Requests a second: well below what two workers can do."""
BETWEEN = 5.0
"""Seconds from one death to the next."""
NEAR = 0.5
"""Seconds within which a lost request must have to do with a death."""


def killed(folder: Path, seconds: float) -> Report:
    """A worker gets SIGKILL every five seconds; the other answers, and a new one takes its place."""
    deaths: list[tuple[float, float]] = []
    with canary_service(folder) as (running, url, questions):
        with traffic(url, questions, RATE) as outcomes:
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
    """When, and the seconds until another had taken its place."""
    before, started = worker_pids(running), len(running.said("Application startup complete."))
    at = monotonic()
    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: len(running.said("Application startup complete.")) > started)
    return at, monotonic() - at


def stopped(folder: Path, times: float) -> Report:
    """SIGTERM under load, so often for each number of workers and each habit of callers."""
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
        {"no caller waits at a port where nobody answers": max(line["not_taken_s"] for line in lines) < 2.0},
    )


def _stop_under_load(folder: Path, workers: int, *, keep_alive: bool) -> dict[str, Any]:
    folder.mkdir()
    with (
        canary_service(folder, workers=workers) as (running, url, questions),
        traffic(url, questions, RATE, keep_alive=keep_alive) as outcomes,
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
    """Of all stops of a kind."""
    told = ("answered", "refused", "lost", "not_taken")
    kinds = dict.fromkeys((line["workers"], line["connections"]) for line in lines)
    same = {kind: [line for line in lines if (line["workers"], line["connections"]) == kind] for kind in kinds}
    return [
        {"workers": kind[0], "connections": kind[1], **{name: sum(line[name] for line in found) for name in told}}
        for kind, found in same.items()
    ]
