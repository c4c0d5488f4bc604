"""A claim, its findings, and the verdict that follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Finding(NamedTuple):
    """A measured number and the expectation of it."""

    what: str
    """The quantity."""
    found: str
    """Its value as text."""
    wanted: str
    """The expectation with its bound; empty where the finding is only reported."""
    holds: bool | None = None
    """Whether the expectation is met; None where the finding does not count."""
    undecided: bool = False
    """Whether the bounds include both; the finding then neither holds nor is refuted."""

    @property
    def verdict(self) -> str:
        """The verdict as text; empty where the finding does not count."""
        if self.undecided:
            return "not shown"
        return "" if self.holds is None else "yes" if self.holds else "no"


class Table(NamedTuple):
    """A table with its caption."""

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
    """A claim on dropout, with all measurements of it."""

    key: str
    title: str
    statement: str
    findings: tuple[Finding, ...]
    how: str
    """The method of the measurement."""
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether there is a finding that counts, and all such hold."""
        decisive = [finding.holds for finding in self.findings if finding.holds is not None]
        return bool(decisive) and all(decisive)

    @property
    def verdict(self) -> str:
        """The verdict: refuted where any finding is, and not shown where one is undecided."""
        if self.holds:
            return "holds"
        refuted = any(finding.holds is False and not finding.undecided for finding in self.findings)
        return "does not hold here" if refuted else "not shown"
