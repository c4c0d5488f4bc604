"""What a trial found: figures to be told, and rules that must have held."""

from typing import Any, NamedTuple


class Report(NamedTuple):
    """Of one trial."""

    figures: dict[str, Any]
    """By name, as JSON has them; of a table, a list of lines."""
    rules: dict[str, bool]
    """What must hold → whether it did."""

    @property
    def broken(self) -> list[str]:
        """The rules that did not hold."""
        return [rule for rule, held in self.rules.items() if not held]
