"""How many calls may be under way at once, and who is next. First come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Place:
    """A place in the queue. `granted` turns true when it becomes a slot, just before `wake` is called."""

    __slots__ = ("granted", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.granted = False
        self.wake = wake


class Concurrency:
    """`limit` slots and a queue. Every slot that is entered or granted must be exited once."""

    __slots__ = ("_queue", "in_use", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_use = 0
        self._queue: deque[Place] = deque()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def configure(self, limit: int) -> None:
        """A smaller limit takes effect as calls end; a larger one lets waiting calls in at once."""
        self.limit = limit
        self._admit()

    def try_enter(self) -> bool:
        """Take a free slot, if there is one: nobody waits while a slot is free, so nobody is overtaken."""
        if self.in_use >= self.limit:
            return False
        self.in_use += 1
        return True

    def overfill(self) -> None:
        """Take a slot that is not there, to go on counting where nobody is held back."""
        self.in_use += 1

    def join(self, wake: Callable[[], None]) -> Place:
        """Wait for a slot, after everybody who waits already. Only after `try_enter` has failed."""
        place = Place(wake)
        self._queue.append(place)
        return place

    def leave(self, place: Place) -> None:
        """Stop waiting; a slot that was granted meanwhile goes to the next."""
        if place.granted:
            self.exit()
        else:
            self._queue.remove(place)

    def exit(self) -> None:
        """Give a slot back."""
        self.in_use -= 1
        if self._queue:
            self._admit()

    def _admit(self) -> None:
        while self._queue and self.in_use < self.limit:
            self.in_use += 1
            place = self._queue.popleft()
            place.granted = True
            place.wake()
