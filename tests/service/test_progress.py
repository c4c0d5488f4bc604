"""Where long work is, on a terminal and without one."""

import io
import re
import sys
import threading
from typing import Any

import pytest
from rich.console import Console

from service import progress as module
from service.progress import Position, progress
from tests.conftest import PATIENCE

LINE = re.compile(r"train: 0:00:\d\d so far, 3 of 8 epochs, loss 0\.5")


class Written(io.StringIO):
    """A stream that tells when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.something = threading.Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        if text.strip():
            self.something.set()
        return count


def test_without_a_terminal_it_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.01)
    stderr: Any = Written()
    monkeypatch.setattr(sys, "stderr", stderr)
    out = io.StringIO()
    with progress("train", Console(file=out)) as position:
        position.at("epochs, loss 0.5", 3, 8)
        stderr.something.clear()
        assert stderr.something.wait(PATIENCE)
    lines = stderr.getvalue().splitlines()
    assert LINE.fullmatch(lines[-1])
    assert out.getvalue() == ""
    assert all(not thread.name.startswith("progress") for thread in threading.enumerate())


def test_work_that_fails_or_is_short_leaves_no_line_and_no_thread(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), progress("train", Console(file=io.StringIO())):
        raise ZeroDivisionError
    assert capsys.readouterr().err == ""
    assert all(not thread.name.startswith("progress") for thread in threading.enumerate())


def test_on_a_terminal_it_is_a_bar_that_goes() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with progress("train", console) as position:
        position.at("epochs, loss 0.5", 3, 8)
        console.print("a line above")
    assert "3/8" in out.getvalue()
    assert "epochs, loss 0.5" in out.getvalue()
    assert "a line above" in out.getvalue()


def test_what_is_not_known_is_left_out() -> None:
    position = Position("import")
    assert position.line == "import: 0:00:00 so far"
    position.at("pieces", 2, 9)
    position.after("verify: the same")
    assert position.line == "import: 0:00:00 so far, after 'verify: the same'"
