"""When a store that fails is left alone: a breaker of a few lines, for stores that a call can do without."""

from __future__ import annotations

from typing import Final

FAILURES: Final = 3
FIRST_S: Final = 1.0
LONGEST_S: Final = 30.0


class Rest:
    """After three failures in a row nothing is asked for a second, then one question; each failed one doubles the
    rest, to half a minute. Times are on the monotonic scale."""

    __slots__ = ("_failures", "_length_s", "_until_s")

    def __init__(self) -> None:
        self._failures = 0
        self._length_s = FIRST_S
        self._until_s = 0.0

    def admits(self, now_s: float) -> bool:
        return self._failures < FAILURES or now_s >= self._until_s

    def begin(self, now_s: float) -> None:
        """Somebody asks. After a rest nobody else does until it is known how that went, or it took too long."""
        if self._failures >= FAILURES:
            self._until_s = now_s + self._length_s

    def succeed(self) -> bool:
        """Whether this ends a rest."""
        rested = self._failures >= FAILURES
        self._failures = 0
        self._length_s = FIRST_S
        return rested

    def fail(self, now_s: float) -> bool:
        """Whether this begins a rest, the first in a row."""
        self._failures += 1
        if self._failures < FAILURES:
            return False
        self._until_s = now_s + self._length_s
        self._length_s = min(LONGEST_S, self._length_s * 2)
        return self._failures == FAILURES
