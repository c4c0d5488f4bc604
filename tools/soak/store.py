"""Absences of the prediction log's store under load: no caller notices, and each row is stored once, or counted as
dropped.
"""

import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import httpx

from service.review.opening import open_store
from service.review.store import Query
from tests.conftest import wait_until
from tests.service.processes import worker_pids
from tests.service.review.places import Place, postgres_server, why_not_postgres
from tests.service.telemetry.test_metrics import value
from tools.soak.canary import CASES, ROWS
from tools.soak.memory import Samples, watched
from tools.soak.overload import canary_service
from tools.soak.report import Report
from tools.soak.traffic import ANSWERED, Outcomes, traffic

RATE = 60.0
AWAY = 8.0
"""Seconds between changes; longer than the connection timeout of a database."""
WORKERS = 2
QUEUE_BYTES = 2**20
"""The queue of each worker, full after some seconds, so that rows are dropped, too."""
SETTINGS = {"DROPSERVE_PREDICTION_LOG_SECONDS": "0.1", "DROPSERVE_PREDICTION_LOG_QUEUE_BYTES": str(QUEUE_BYTES)}
DISK = "16m"
RETRIED_WITHIN = 60.0
"""Seconds within which a returned store must be found: a statement times out after ten, and attempts are five apart."""


class Way(NamedTuple):
    """A way to lose a store."""

    name: str
    go: Callable[[], None]
    come: Callable[[], None]


class Absence(NamedTuple):
    """An absence of a store, on the monotonic clock."""

    way: str
    began: float
    ended: float
    resumed_after: float
    """Seconds from its return until a row was written again."""


class Stored(NamedTuple):
    """The final content of a store."""

    rows: int
    twice: int
    kinds: int
    """Different rows apart from their time: those of one case are equal."""


def store(folder: Path, seconds: float, away: float = AWAY) -> Report:
    """Run each kind of store for about so long, lost at least once in each way, for `away` seconds."""
    lines, missing = [], []
    for kind, opened in (("parquet", _parquet), ("sqlite", _sqlite), ("postgresql", _postgres)):
        if kind == "postgresql" and (reason := why_not_postgres()):
            missing.append(f"PostgreSQL: {reason}")
            continue
        (folder / kind).mkdir()
        with opened(folder / kind) as (where, ways):
            lines.append({"store": kind} | _lose(folder / kind, where, ways, seconds, away))
            if kind != "postgresql" and len(ways) == 1:
                missing.append(f"{kind}, disk full: no file system can be mounted here")
    return Report({"away_s": away, "queue_bytes": QUEUE_BYTES, "lines": lines, "missing": missing}, *_held(lines))


def _held(lines: list[dict[str, Any]]) -> tuple[dict[str, bool], dict[str, bool]]:
    rules = {
        "every request is answered, or refused by rule": not any(line["unruly"] for line in lines),
        "every answer is right to the byte": not any(line["wrong"] for line in lines),
        "every row of an answer is counted as written, or as dropped": all(
            line["asked"] == line["written"] + line["dropped"] for line in lines
        ),
        "the store has the rows counted as written, and no others": all(
            line["written"] == line["stored"] for line in lines
        ),
        "no row is there twice": not any(line["twice"] for line in lines),
        "rows of the same case are the same, whenever they were written": all(
            line["kinds"] == len(CASES) * len(ROWS) for line in lines
        ),
        "each absence was noticed, and writing went on after it": all(
            line["absences"] == line["resumed"] for line in lines
        ),
    }
    bounds = {
        "predict's 99th percentile while the store is away is at most 50 ms above that while it is there": all(
            line["away_p99_ms"] < line["there_p99_ms"] + 50 for line in lines
        ),
        "memory while it is away the last time: at most 10 % above the first time": all(
            line["last_mb"] < 1.1 * line["first_mb"] for line in lines
        ),
    }
    return rules, bounds


def _lose(folder: Path, where: str, ways: list[Way], seconds: float, away: float) -> dict[str, Any]:
    """Lose the store in each way, repeatedly; return the counts of rows."""
    settings = SETTINGS | {"DROPSERVE_PREDICTION_LOG": where}
    times = max(1, round(seconds / (2 * away * len(ways))))
    with canary_service(folder, settings, workers=WORKERS) as (running, url, cases):
        with watched(lambda: worker_pids(running)) as samples, traffic(url, cases, RATE) as outcomes:
            sleep(2 * away)
            absences = [_absent(running.client, way, away) for _ in range(times) for way in ways]
        asked = len(ROWS) * (outcomes.count(ANSWERED) + len(CASES))  # each was sent once before, to learn its answer
        wait_until(lambda: _logged(running.client) >= asked, RETRIED_WITHIN)
        written, dropped = _logged(running.client, "written"), _logged(running.client, "dropped")
    found = _stored(where)
    return {
        "ways": dict(Counter(each.way for each in absences)),
        "absences": len(absences),
        "resumed": sum(each.resumed_after < RETRIED_WITHIN for each in absences),
        "resumed_after_s": max(each.resumed_after for each in absences),
        "requests": len(outcomes),
        "ends": outcomes.table(),
        "unruly": outcomes.unruly,
        "wrong": outcomes.wrong,
        "asked": asked,
        "written": written,
        "dropped": dropped,
        "stored": found.rows,
        "twice": found.twice,
        "kinds": found.kinds,
        **_while_away(outcomes, samples, absences),
    }


def _absent(client: httpx.Client, way: Way, seconds: float) -> Absence:
    """Lose the store for so long, after a failed attempt; then wait until rows are written again, and as long."""
    failures = _failures(client)
    began = monotonic()
    way.go()
    try:
        wait_until(lambda: _failures(client) > failures, RETRIED_WITHIN)
        sleep(max(0.0, began + seconds - monotonic()))
    finally:
        written = _logged(client, "written")
        ended = monotonic()
        way.come()
    wait_until(lambda: _logged(client, "written") > written, RETRIED_WITHIN)
    resumed_after = monotonic() - ended
    sleep(seconds)
    return Absence(way.name, began, ended, resumed_after)


def _failures(client: httpx.Client) -> int:
    return int(value(client, "dropserve_log_failures_total"))


def _logged(client: httpx.Client, *fates: str) -> int:
    """Return the number of rows of these fates, by default of all."""
    return sum(int(value(client, "dropserve_logged_rows_total", fate=fate)) for fate in fates or ("written", "dropped"))


def _stored(where: str) -> Stored:
    entries = open_store(where).select(Query(decision="any", state="all", limit=10**9))
    rows = [entry.row for entry in entries]
    kinds = {(row.route, row.row, row.inputs, row.answer) for row in rows}
    return Stored(len(rows), len(rows) - len({row.id for row in rows}), len(kinds))


def _while_away(outcomes: Outcomes, samples: Samples, absences: list[Absence]) -> dict[str, float]:
    """Return latencies of `predict` and memory, with and without the store."""

    def is_away(at: float) -> bool:
        return any(each.began <= at < each.ended for each in absences)

    asked = [each for each in outcomes if each.name == "predict"]
    there = Outcomes(each for each in asked if not is_away(each.at))
    without = Outcomes(each for each in asked if is_away(each.at))

    def highest_mb(began: float, ended: float) -> float:
        return max((mb for at, mb in samples if began <= at < ended), default=0.0)

    return {
        "there_p99_ms": there.latencies()["p99_ms"],
        "away_p99_ms": without.latencies()["p99_ms"],
        "before_mb": highest_mb(0.0, absences[0].began),
        "first_mb": highest_mb(absences[0].began, absences[0].ended),
        "last_mb": highest_mb(absences[-1].began, absences[-1].ended),
    }


Opened = Iterator[tuple[str, list[Way]]]
"""The place of a store, and the ways to lose it."""


@contextmanager
def _parquet(folder: Path) -> Opened:
    with _disk(folder / "disk") as full:
        place = Place(folder / "disk" / "store", str(folder / "disk" / "store"))
        yield place.where, [Way("moved away", place.go_away, place.come_back), *full]


@contextmanager
def _sqlite(folder: Path) -> Opened:
    with _disk(folder / "disk") as full:
        place = Place(folder / "disk" / "store", f"sqlite:///{folder}/disk/store/log.db")
        yield place.where, [Way("moved away", place.go_away, place.come_back), *full]


@contextmanager
def _disk(folder: Path) -> Iterator[list[Way]]:
    """Mount a disk in memory and yield the way to fill it; none if this user may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield []
        return
    try:
        filling = folder / "filling"
        yield [Way("disk full", lambda: _fill(filling), filling.unlink)]
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill(file: Path) -> None:
    """Write until the disk is full."""
    try:
        with file.open("wb", buffering=0) as filling:
            while filling.write(bytes(4096)):
                pass
    except OSError:
        return


@contextmanager
def _postgres(_: Path) -> Opened:
    with postgres_server() as server:
        server.make_database()
        yield (
            server.where,
            [
                Way("stopped", server.go_away, server.come_back),
                Way("killed", server.kill, server.start),
                Way("hanging", lambda: server.signal(signal.SIGSTOP), lambda: server.signal(signal.SIGCONT)),
            ],
        )
