"""What a trial found: figures to be told, and what must have held."""

from typing import Any, NamedTuple


class Report(NamedTuple):
    """Of one trial."""

    figures: dict[str, Any]
    """By name, as JSON has them; of a table, a list of lines."""
    rules: dict[str, bool]
    """What must hold, however busy the machine is → whether it did."""
    bounds: dict[str, bool]
    """What must hold of times and memory, on a machine that has nothing else to do → whether it did."""

    @property
    def broken(self) -> list[str]:
        """The rules that did not hold."""
        return [rule for rule, held in self.rules.items() if not held]
