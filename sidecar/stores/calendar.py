"""When slots become useless, to the minute within the next hour, else to the hour.

The slots of one time are linked through themselves: sets would keep the room of what has left them.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, final

from sidecar.stores.fifo import Slot, Tick

if TYPE_CHECKING:
    from mypy_extensions import i64

NEAR_S: Final = 60
FAR_S: Final = 3600
FAR_TICKS: Final = FAR_S // NEAR_S


@final
class Calendar:
    """Slots by the tick, of a minute, after which they are of no use."""

    __slots__ = ("_latest", "_ticks", "next_s")

    def __init__(self) -> None:
        self._ticks: dict[int, Tick] = {}
        self._latest: Tick | None = None
        """The one that was last noted, as the next often is, too."""
        self.next_s = inf
        """Nothing is useless before, Unix time."""

    def note(self, slot: Slot, now_s: float) -> None:
        """Put a slot where its `until_s` belongs, wherever it was."""
        if slot.due is not None:
            self.strike(slot)
        at: i64 = int(slot.until_s)
        at = at // NEAR_S + 1
        if slot.until_s - now_s >= FAR_S:
            at += -at % FAR_TICKS
        tick = self._latest
        if tick is None or tick.at != at:
            tick = self._ticks.get(at)
            if tick is None:
                self._begin(at, slot)
                return
            self._latest = tick
        first = tick.first
        first.due_before = slot
        slot.due, slot.due_after = tick, first
        tick.first = slot

    def _begin(self, at: int, slot: Slot) -> None:
        self._ticks[at] = self._latest = slot.due = Tick(at, slot)
        self.next_s = min(self.next_s, float(at * NEAR_S))

    def strike(self, slot: Slot) -> None:
        """Take a slot out, if it is in."""
        tick = slot.due
        if tick is None:
            return
        slot.due = None
        before, after = slot.due_before, slot.due_after
        if after is not None:
            after.due_before = before
            slot.due_after = None
        if before is not None:
            before.due_after = after
            slot.due_before = None
        elif after is not None:
            tick.first = after
        else:
            del self._ticks[tick.at]
            if tick is self._latest:
                self._latest = None

    def useless(self, now_s: float) -> Slot | None:
        """Some slot whose time is over."""
        while now_s >= self.next_s:
            tick = self._ticks.get(int(self.next_s) // NEAR_S)
            if tick is not None:
                return tick.first
            self.next_s = float(min(self._ticks) * NEAR_S) if self._ticks else inf
        return None
