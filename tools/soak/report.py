"""The result of a trial: figures, and rules that must hold."""

from typing import Any, NamedTuple


class Report(NamedTuple):
    """The result of one trial."""

    figures: dict[str, Any]
    """Figures by name, as in JSON; a table is a list of lines."""
    rules: dict[str, bool]
    """Rules that must hold on any machine, and whether they did."""
    bounds: dict[str, bool]
    """Bounds of times and memory that must hold on an idle machine, and whether they did."""

    @property
    def broken(self) -> list[str]:
        """The rules that did not hold."""
        return [rule for rule, held in self.rules.items() if not held]
