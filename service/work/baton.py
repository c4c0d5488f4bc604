"""A baton between threads, held by the one with the least work left; the others are blocked.

The order is that of shortest remaining processing time (Schrage 1968), among equals first come, first served.
"""

import itertools
import threading
from heapq import heappop, heappush


class Dropped(Exception):
    """Ends work whose result is no longer needed."""


class Place:
    """The place of a thread among those that share the baton."""

    __slots__ = ("_gate", "dropped")

    def __init__(self) -> None:
        """Begin without the baton."""
        self.dropped = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def open(self) -> None:
        """Let the thread continue; called by the baton."""
        self._gate.release()

    def wait(self) -> None:
        """Block until the thread holds the baton. Raises Dropped."""
        self._gate.acquire()
        if self.dropped:
            raise Dropped


class Baton:
    """A baton, held by one place at a time."""

    def __init__(self) -> None:
        """Begin without a holder."""
        self._lock = threading.Lock()
        self._holder: Place | None = None
        self._waiting: list[tuple[float, int, Place]] = []
        """A heap of (seconds left, order of arrival, place)."""
        self._order = itertools.count()

    def enter(self, place: Place, seconds_left: float) -> None:
        """Request the baton; `place.wait()` returns once the place holds it."""
        with self._lock:
            if place.dropped:
                return  # its gate is open already
            heappush(self._waiting, (seconds_left, next(self._order), place))
            if self._holder is None:
                self._pass_on()

    def pause(self, place: Place, seconds_left: float) -> None:
        """Pass the baton to a place with as much or less work left, and wait for it. Raises Dropped."""
        with self._lock:
            if place.dropped:
                raise Dropped
            if not self._waiting or self._waiting[0][0] > seconds_left:
                return
            heappush(self._waiting, (seconds_left, next(self._order), place))
            self._pass_on()
        place.wait()

    def leave(self, place: Place) -> None:
        """Pass the baton on, if this place holds it."""
        with self._lock:
            if self._holder is place:
                self._pass_on()
                if place.dropped:
                    place.open()  # so that it does not wait for the baton again

    def drop(self, place: Place) -> None:
        """End the work of a place, at once if it waits, else at its next pause."""
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
