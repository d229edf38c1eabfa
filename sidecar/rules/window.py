"""Two counts over the last few seconds, in constant memory and time."""

from __future__ import annotations

from typing import Final, final

SLOTS: Final = 10


@final
class Window:
    """Counts of plain and of marked events in the last `span_s` seconds, to a tenth of it."""

    __slots__ = ("_marked", "_plain", "_slot_s", "_tick", "marked", "plain", "span_s")

    def __init__(self, span_s: float) -> None:
        self.span_s = span_s
        self._slot_s = span_s / SLOTS
        self.clear()

    def clear(self) -> None:
        self._tick = -1
        self._plain = [0] * SLOTS
        self._marked = [0] * SLOTS
        self.plain = 0
        self.marked = 0

    def count(self, now_s: float) -> None:
        """One plain event now."""
        tick = int(now_s / self._slot_s)
        if tick > self._tick:
            self._turn(tick)
        self._plain[tick % SLOTS] += 1
        self.plain += 1

    def mark(self, now_s: float) -> None:
        """One marked event now."""
        tick = int(now_s / self._slot_s)
        if tick > self._tick:
            self._turn(tick)
        self._marked[tick % SLOTS] += 1
        self.marked += 1

    def turn(self, now_s: float) -> None:
        """Forget what has grown too old, so that `plain` and `marked` are true now."""
        tick = int(now_s / self._slot_s)
        if tick > self._tick:
            self._turn(tick)

    def _turn(self, tick: int) -> None:
        for passed in range(max(self._tick + 1, tick - SLOTS + 1), tick + 1):
            slot = passed % SLOTS
            self.plain -= self._plain[slot]
            self.marked -= self._marked[slot]
            self._plain[slot] = self._marked[slot] = 0
        self._tick = tick
