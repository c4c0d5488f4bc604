"""What is claimed, what was found, and whether the one follows from the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Finding(NamedTuple):
    """A number, and what it had to be."""

    what: str
    found: str
    wanted: str
    """In words, with the bound; empty where it is only told."""
    holds: bool | None = None
    """None where it decides nothing."""
    undecided: bool = False
    """Whether the numbers leave it open, as their bounds include both; then it does not hold, nor is it refuted."""

    @property
    def verdict(self) -> str:
        """In words; empty where it decides nothing."""
        if self.undecided:
            return "not shown"
        return "" if self.holds is None else "yes" if self.holds else "no"


class Table(NamedTuple):
    """Numbers in rows."""

    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Plot(NamedTuple):
    """A chart; `name` is that of its file."""

    name: str
    caption: str
    svg: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Something said of dropout, with all that was measured about it."""

    key: str
    title: str
    statement: str
    findings: tuple[Finding, ...]
    how: str
    """It was measured."""
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every finding that decides does, and there is one."""
        decisive = [finding.holds for finding in self.findings if finding.holds is not None]
        return bool(decisive) and all(decisive)

    @property
    def verdict(self) -> str:
        """Refuted where any finding is, and not shown where one that decides leaves it open."""
        if self.holds:
            return "holds"
        refuted = any(finding.holds is False and not finding.undecided for finding in self.findings)
        return "does not hold here" if refuted else "not shown"
