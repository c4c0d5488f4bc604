"""Where long work is: a bar on a terminal, else a plain line on stderr now and then."""

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
"""Seconds between two lines, at first."""
SHARE = 0.02
"""Of the time that has passed, between two lines: a day's work does not fill the log."""
WIDTH = 40


@dataclass(slots=True)
class Position:
    """Where a piece of work is; whoever does it says so as often as they like."""

    what: str
    text: str = ""
    done: int = 0
    of: int | None = None
    """None: the total is not known."""
    began: float = field(default_factory=monotonic)

    def at(self, text: str, done: int = 0, of: int | None = None) -> None:
        """Say what is being done, and how much of it is."""
        self.text, self.done, self.of = text, done, of

    def after(self, text: str) -> None:
        """Say what was done last, where what comes next is not known."""
        self.at(f"after {text!r}")

    @property
    def elapsed(self) -> str:
        """Hours, minutes and seconds."""
        return str(timedelta(seconds=int(monotonic() - self.began)))

    @property
    def line(self) -> str:
        """All of it, on one line."""
        text = f"{self.done} of {self.of} {self.text}" if self.of else self.text
        return f"{self.what}: {', '.join(filter(None, (f'{self.elapsed} so far', text)))}"


@contextmanager
def progress(what: str, console: Console) -> Iterator[Position]:
    """Show where the work within is: on the console where it is a terminal, and gone at the end, else on stderr."""
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

    def tell() -> None:
        while not over.wait(max(EVERY, SHARE * (monotonic() - position.began))):
            print(position.line, file=sys.stderr, flush=True)  # noqa: T201 - it is no log: a person waits

    teller = Thread(target=tell, name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
