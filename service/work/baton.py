"""A baton between threads: of all that want to work, the one with least left does (shortest remaining processing time;
Schrage 1968), and the others are blocked; of equals, what has waited longest goes first.
"""

import itertools
import threading
from heapq import heappop, heappush


class Dropped(Exception):
    """Ends work whose result is not wanted any more."""


class Place:
    """A piece of work and its place among the others."""

    __slots__ = ("_gate", "dropped")

    def __init__(self) -> None:
        self.dropped = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def open(self) -> None:
        """Let its thread go on; for the baton."""
        self._gate.release()

    def wait(self) -> None:
        """Block until it is this turn; raises Dropped."""
        self._gate.acquire()
        if self.dropped:
            raise Dropped


class Baton:
    """Held by one turn at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: Place | None = None
        self._waiting: list[tuple[float, int, Place]] = []
        """A heap: seconds left, order of coming, place."""
        self._order = itertools.count()

    def enter(self, place: Place, seconds_left: float) -> None:
        """Want the baton; `place.wait()` returns once it is held."""
        with self._lock:
            if place.dropped:
                return  # it may go on at once, to its end
            heappush(self._waiting, (seconds_left, next(self._order), place))
            if self._holder is None:
                self._pass_on()

    def pause(self, place: Place, seconds_left: float) -> None:
        """Let another that has no more left go first; raises Dropped."""
        with self._lock:
            if place.dropped:
                raise Dropped
            if not self._waiting or self._waiting[0][0] > seconds_left:
                return
            heappush(self._waiting, (seconds_left, next(self._order), place))
            self._pass_on()
        place.wait()

    def leave(self, place: Place) -> None:
        """Pass the baton on, if this turn holds it."""
        with self._lock:
            if self._holder is place:
                self._pass_on()

    def drop(self, place: Place) -> None:
        """Have this turn's work end: at once where it waits, else at its next pause."""
        with self._lock:
            if not place.dropped:
                place.dropped = True
                if self._holder is not place:
                    place.open()

    def _pass_on(self) -> None:
        self._holder = None
        while self._waiting and self._holder is None:
            place = heappop(self._waiting)[2]
            if not place.dropped:
                self._holder = place
                place.open()
