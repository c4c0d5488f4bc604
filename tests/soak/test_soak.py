"""The short form: each trial for some seconds. `python -m tools.soak.run` tries for as long as is given."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.soak.callers import callers
from tools.soak.clocks import clocks, libfaketime
from tools.soak.deaths import killed, stopped
from tools.soak.overload import overload
from tools.soak.publishing import publishing
from tools.soak.report import Report
from tools.soak.store import store
from tools.soak.swaps import swaps

SHORT: dict[str, Callable[[Path], Report]] = {
    "overload": lambda folder: overload(folder, seconds=5),
    "a worker killed": lambda folder: killed(folder, seconds=5),
    "the service stopped": lambda folder: stopped(folder, times=1),
    "swaps and damaged versions": lambda folder: swaps(folder, seconds=14, every=2),
    "publishers killed, disks full": publishing,
    "the prediction log's store away": lambda folder: store(folder, seconds=1, away=0.5),
    "slow and vanishing callers": lambda folder: callers(folder, times=2),
}


@pytest.mark.parametrize("name", SHORT)
def test_what_must_hold_holds(name: str, tmp_path: Path) -> None:
    report = SHORT[name](tmp_path)
    assert not report.broken, report.figures


@pytest.mark.skipif(libfaketime() is None, reason="needs libfaketime: apt install faketime")
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path) -> None:
    report = clocks(tmp_path, seconds=7)
    assert not report.broken, report.figures
