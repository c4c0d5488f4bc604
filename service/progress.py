"""Show the progress of long work: a bar on a terminal, else a line on stderr at intervals."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Thread
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

EVERY = 10.0
"""The shortest interval between two lines, in seconds."""
SHARE = 0.02
"""The interval as a fraction of the elapsed time, so that long work does not fill the log."""
WIDTH = 40


@dataclass(slots=True)
class Position:
    """The progress of some work, updated by the code that does it."""

    what: str
    text: str = ""
    done: int = 0
    of: int | None = None
    """The total; None if it is not known."""
    began: float = field(default_factory=monotonic)

    def at(self, text: str, done: int = 0, of: int | None = None) -> None:
        """Set the current step in words, and how much of it is done."""
        self.text, self.done, self.of = text, done, of

    def after(self, text: str) -> None:
        """Set the last completed step, if the next one is not known."""
        self.at(f"after {text!r}")

    @property
    def elapsed(self) -> str:
        """The elapsed time in hours, minutes and seconds."""
        return str(timedelta(seconds=int(monotonic() - self.began)))

    @property
    def line(self) -> str:
        """The progress in one line."""
        text = f"{self.done} of {self.of} {self.text}" if self.of else self.text
        return f"{self.what}: {', '.join(filter(None, (f'{self.elapsed} so far', text)))}"


@contextmanager
def progress(what: str, console: Console) -> Iterator[Position]:
    """Show the progress of the enclosed work: a temporary bar if the console is a terminal, else lines on stderr."""
    position = Position(what)
    with _bar(position, console) if console.is_terminal else _lines(position):
        yield position


@contextmanager
def _bar(position: Position, console: Console) -> Iterator[None]:
    spinner = Spinner("dots")

    def shown() -> RenderableType:
        bar = ProgressBar(position.of, position.done, WIDTH) if position.of else spinner
        row = Table.grid(padding=(0, 1))
        share = f"{position.done}/{position.of}" if position.of else ""
        row.add_row(bar, Text(share), Text(position.elapsed), Text(position.text, no_wrap=True, overflow="ellipsis"))
        return Group(row)

    with Live(console=console, transient=True, get_renderable=shown):
        yield


@contextmanager
def _lines(position: Position) -> Iterator[None]:
    over = Event()

    def report() -> None:
        while not over.wait(max(EVERY, SHARE * (monotonic() - position.began))):
            print(position.line, file=sys.stderr, flush=True)  # noqa: T201 - for a person who waits, not for the log

    reporter = Thread(target=report, name="progress", daemon=True)
    reporter.start()
    try:
        yield
    finally:
        over.set()
        reporter.join()
