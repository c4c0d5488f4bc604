"""Work cut into short steps, so that whoever drives it may see to others in between, or do some for many at once."""

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from service.engine.costs import Cost
from service.engine.stages import Stopwatch
from service.model.runtime import Array

T = TypeVar("T")

Inputs = Mapping[str, Array]
"""One array (rows, …) an input of the model, as `service.rows.inputs` checks them."""


class Answer(Protocol):
    """Something for each row asked about."""

    def take(self, rows: slice) -> Self:
        """What concerns these rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A step that may be done together with others of its kind: a row's answer does not depend on its batch-mates."""

    kind: Hashable
    """Questions of one kind can be asked as one."""
    inputs: Inputs
    ask: Callable[[Inputs, Stopwatch], Answer]
    watch: Stopwatch
    cost: Cost
    """Of a row."""

    @property
    def rows(self) -> int:
        """How many it is about."""
        return count_rows(self.inputs)

    def alone(self) -> Answer:
        """Its answer; raises what `ask` does."""
        return self.ask(self.inputs, self.watch)


@dataclass(slots=True, eq=False)
class Offer:
    """Work that may be done elsewhere, in pieces at once; whoever drives the steps may also let them do it here.

    Sent back is what came of each piece, None for one that nobody did; or None, where the offer is not taken.
    """

    seconds: float
    """That it takes here."""
    cut: Callable[[], Sequence[Any]]
    """The pieces: each a pure function of what it holds and of the model that it names."""
    results: Sequence[Any] | None = None


OwnSteps = Generator[float, None, T]
"""Each `yield` tells about how many seconds the rest takes: a scheduler may stop there, see to others, or go on in
a thread.
"""
LargeSteps = Generator[float | Offer, Any, T]
"""The same; but a `yield` may be an Offer."""
Steps = Generator[float | Offer | Question, Any, T]
"""The same; but a `yield` may also be a Question, whose answer is to be sent."""
Said = float | Offer | Question


def finish(steps: Steps[T]) -> T:
    """Take all the steps at once."""
    answer: Answer | None = None
    while True:
        try:
            said = steps.send(answer)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        answer = said.alone() if isinstance(said, Question) else None


def seconds_left(said: Said) -> float:
    """About how long what follows will take here."""
    if isinstance(said, Question):
        return said.cost.seconds(said.rows)
    if isinstance(said, Offer):
        return said.seconds if said.results is None else 0.0
    return said


def and_then(steps: LargeSteps[T], rest: float) -> LargeSteps[T]:
    """The steps, after which so many seconds of work will be left."""
    results: Any = None
    while True:
        try:
            said = steps.send(results)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        results = yield said if isinstance(said, Offer) else said + rest


def count_rows(inputs: Inputs) -> int:
    """How many rows were sent."""
    return len(next(iter(inputs.values())))
