"""The interface of stores of the prediction log, which are a folder of Parquet files or a database."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from service.errors import InvalidInput
from service.review.rows import Label, Row

Order = Literal["newest", "information"]
State = Literal["open", "labelled", "all"]
Decided = Literal["refer", "accept", "any"]


class Entry(NamedTuple):
    """A row of the log, and its labels."""

    row: Row
    labels: tuple[Label, ...] = ()
    """All labels, oldest first; the latest is valid."""


@dataclass(frozen=True, slots=True)
class Query:
    """A selection of rows."""

    model: str | None = None
    decision: Decided = "refer"
    state: State = "open"
    """`open` selects rows without a label."""
    order: Order = "newest"
    """`information` lists the highest mutual information first."""
    limit: int = 50
    after: str | None = None
    """The id of the last row of the previous page."""


class Store(Protocol):
    """A store shared by several processes. Every method raises StoreAway if it cannot be reached."""

    def prepare(self) -> None:
        """Create missing tables or folders; called before the first write, and again after StoreAway."""

    def write(self, rows: Sequence[Row]) -> int:
        """Write rows and return how many the store accepted; existing rows are left unchanged."""

    def prune(self, before: float) -> None:
        """Delete rows answered before this time, with their labels."""

    def find(self, prediction: str) -> Entry | None:
        """Return the row with this id, or None."""

    def select(self, query: Query) -> list[Entry]:
        """Return at most `limit` rows. Raises InvalidInput for an unknown `after`."""

    def labelled(self, model: str) -> Iterator[Entry]:
        """Return all labelled rows of a model, by id."""

    def add_label(self, label: Label) -> None:
        """Add a label to the row's earlier ones."""


def unknown_place(after: str) -> InvalidInput:
    """Return the error of a page after an unknown row."""
    return InvalidInput(f"after: expected the id of a row in the prediction log; found {after[:100]!r}", field="after")
