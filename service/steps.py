"""Work cut into short steps, so that whoever drives it may see to others in between, or do some for many at once."""

from collections.abc import Callable, Generator, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from service.costs import Cost
from service.runtime import Array
from service.stages import Stopwatch

T = TypeVar("T")

Inputs = Mapping[str, Array]
"""One array (rows, …) an input of the model, as `service.inputs` checks them."""


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


OwnSteps = Generator[float, None, T]
"""Each `yield` tells about how many seconds the rest takes: a scheduler may stop there, see to others, or go on in
a thread.
"""
Steps = Generator[float | Question, Any, T]
"""The same; but a `yield` may be a Question, whose answer is to be sent."""


def finish(steps: Steps[T]) -> T:
    """Take all the steps at once."""
    answer: Answer | None = None
    while True:
        try:
            said = steps.send(answer)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        answer = said.alone() if isinstance(said, Question) else None


def seconds_left(said: float | Question) -> float:
    """About how long what follows will take."""
    return said.cost.seconds(said.rows) if isinstance(said, Question) else said


def and_then(steps: OwnSteps[T], rest: float) -> OwnSteps[T]:
    """The steps, after which so many seconds of work will be left."""
    while True:
        try:
            remaining = next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        yield remaining + rest


def count_rows(inputs: Inputs) -> int:
    """How many rows were sent."""
    return len(next(iter(inputs.values())))
