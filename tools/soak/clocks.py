"""The clock of the machine jumps by hours and years while the service answers.

libfaketime changes the time of day of the processes, and leaves the monotonic clock alone, as a real jump does. The
service must use the latter for intervals.
"""

from pathlib import Path
from time import sleep

from tests.service.processes import Service
from tools.soak.overload import canary_service
from tools.soak.report import Report
from tools.soak.traffic import ANSWERED, traffic

RATE = 100.0
LIBRARIES = ("x86_64-linux-gnu", "aarch64-linux-gnu")
JUMPS = ("+1h", "-1h", "+1d", "-1d", "+10y", "-10y", "+0")
"""Offsets from the right time, in libfaketime's format."""


def libfaketime() -> Path | None:
    """Return the library of Debian's package `faketime`; None without it."""
    found = [Path(f"/usr/lib/{place}/faketime/libfaketimeMT.so.1") for place in LIBRARIES]
    return next((library for library in found if library.exists()), None)


def clocks(folder: Path, seconds: float) -> Report:
    """Jump each second, through all offsets repeatedly."""
    jumps = [JUMPS[number % len(JUMPS)] for number in range(max(len(JUMPS), round(seconds)))]
    clock = folder / "clock"
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": str(libfaketime()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    with canary_service(folder, environment) as (running, url, cases):
        with traffic(url, cases, RATE) as outcomes:
            dates = {_jump(running, clock, jump) for jump in jumps}
        code = running.stop()
    return Report(
        {
            "jumps": len(jumps),
            "days_told": len(dates),
            "requests": len(outcomes),
            "ends": outcomes.table(),
            **outcomes.latencies(),
        },
        {
            "the service saw the jumps": len(dates) > 3,
            "every request is answered, or refused by rule": outcomes.unruly == 0,
            "every answer is right to the byte": outcomes.wrong == 0,
            "the service drains and ends with exit code 0": code == 0,
        },
        {"no request is refused": outcomes.count(ANSWERED) == len(outcomes)},
    )


def _jump(running: Service, clock: Path, jump: str) -> str:
    """Return the service's date after the jump, from the head of a reply."""
    clock.write_text(jump)
    sleep(2.5)
    return running.client.get("/healthz").headers["date"].rpartition(" ")[0].rpartition(" ")[0]
