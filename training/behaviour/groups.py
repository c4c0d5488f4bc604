"""The same measured of every network of a report, and of the published one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from training.behaviour.networks import Network
from training.behaviour.served import Served
from training.behaviour.settings import RATES
from training.data import Part

Measured = TypeVar("Measured")


class Groups(NamedTuple, Generic[Measured]):
    """What was measured."""

    by_rate: Mapping[float, Sequence[Measured]]
    """Of the report's networks by their p, in the order of their seeds."""
    published: Mapping[str, Measured]
    """Of the published model by its title; empty where there is none."""

    def named(self) -> dict[str, Sequence[Measured]]:
        """All, as they are told."""
        return {f"p = {p:g}": of for p, of in self.by_rate.items()} | {
            title: [each] for title, each in self.published.items()
        }


def measure_all(
    measure: Callable[[Served, Part], Measured], networks: Sequence[Network], published: Served | None, test: Part
) -> Groups[Measured]:
    """Ask each network on its own test rows; `test` are those of the published one."""
    by_rate = {p: [measure(each.served, each.test) for each in networks if each.p == p] for p in RATES}
    return Groups(by_rate, {published.title: measure(published, test)} if published else {})
