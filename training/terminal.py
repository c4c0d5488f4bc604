"""The terminal of the commands: lines of output, and errors as one line with an exit code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from service.errors import DropserveError
from service.progress import Position
from training.errors import ConfigError

FAILURE = 1
USAGE = 2

out = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)


def print_line(text: str) -> None:
    """Print the text as it is, however long."""
    out.print(text, markup=False, soft_wrap=True)


def log_to(position: Position) -> Callable[[str], None]:
    """Return a log that prints each line, and makes it the last step of the progress."""

    def log(text: str) -> None:
        print_line(text)
        position.after(text)

    return log


@contextmanager
def reported_errors() -> Iterator[None]:
    """Print an error of Dropserve as one line, and exit the command."""
    try:
        yield
    except DropserveError as error:
        errors.print(f"Error: {error.message}", markup=False, style="red", soft_wrap=True)
        raise typer.Exit(USAGE if isinstance(error, ConfigError) else FAILURE) from None
