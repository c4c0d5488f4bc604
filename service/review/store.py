"""Where answers are kept, and what is asked of such a place: a folder of Parquet files, or a database."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from service.errors import InvalidInput
from service.review.rows import Label, Row

Order = Literal["newest", "information"]
State = Literal["open", "labelled", "all"]
Decided = Literal["refer", "accept", "any"]


class Entry(NamedTuple):
    """A row that is kept, and what persons said of it."""

    row: Row
    labels: tuple[Label, ...] = ()
    """From first to last; the last holds."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows to list."""

    model: str | None = None
    decision: Decided = "refer"
    state: State = "open"
    """open: those that nobody has labelled."""
    order: Order = "newest"
    """Or those of the highest mutual information first."""
    limit: int = 50
    after: str | None = None
    """The id of the row that the page before ended with."""


class Store(Protocol):
    """A place that several processes share. Every method raises StoreAway where it cannot be reached."""

    def prepare(self) -> None:
        """Make what is not there yet; before the first rows are written, and again once it was away."""

    def write(self, rows: Sequence[Row]) -> int:
        """How many of them are there now: all, but those that such a place can never take. Rows that are there
        already stay as they are.
        """

    def prune(self, before: float) -> None:
        """Forget rows answered before this time, with their labels."""

    def find(self, prediction: str) -> Entry | None:
        """The row of this id."""

    def select(self, query: Query) -> list[Entry]:
        """As many as the limit; raises InvalidInput for an `after` that is not there."""

    def labelled(self, model: str) -> Iterator[Entry]:
        """All rows of a model that have a label, by their ids."""

    def add_label(self, label: Label) -> None:
        """Keep what a person says, beside what was said before."""


def unknown_place(after: str) -> InvalidInput:
    """The refusal of a page behind a row that is not there."""
    return InvalidInput(f"after: expected the id of a row in the prediction log; found {after[:100]!r}", field="after")
