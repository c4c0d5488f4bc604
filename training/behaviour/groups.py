"""The same measurement of every network of a report, and of the published model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from training.behaviour.networks import Network
from training.behaviour.served import Served
from training.behaviour.settings import RATES
from training.data import Part

Measured = TypeVar("Measured")


class Groups(NamedTuple, Generic[Measured]):
    """Results by group of networks."""

    by_rate: Mapping[float, Sequence[Measured]]
    """Results of the report's networks by p, in the order of their seeds."""
    published: Mapping[str, Measured]
    """Result of the published model by its title; empty without one."""

    def named(self) -> dict[str, Sequence[Measured]]:
        """Return all results by the name of their group in the report."""
        return {f"p = {p:g}": of for p, of in self.by_rate.items()} | {
            title: [each] for title, each in self.published.items()
        }


def measure_all(
    measure: Callable[[Served, Part], Measured], networks: Sequence[Network], published: Served | None, test: Part
) -> Groups[Measured]:
    """Measure each network on its own test rows; `test` are those of the published model."""
    by_rate = {p: [measure(each.served, each.test) for each in networks if each.p == p] for p in RATES}
    return Groups(by_rate, {published.title: measure(published, test)} if published else {})
