"""When slots become useless, to the minute within the next hour, else to the hour.

The slots of one time are linked through themselves: sets would keep the room of what has left them.
"""

from __future__ import annotations

from typing import Final, final

from sidecar.stores.fifo import Slot

NEAR_S: Final = 60
FAR_S: Final = 3600
NEVER: Final = 1 << 60


@final
class Calendar:
    """Slots by the tick, of a minute, after which they are of no use."""

    __slots__ = ("_next", "_ticks")

    def __init__(self) -> None:
        self._ticks: dict[int, Slot] = {}
        """The first slot of each."""
        self._next = NEVER
        """No tick is earlier."""

    def note(self, slot: Slot, now_s: float) -> None:
        """Put a slot where its `until_s` belongs, wherever it was."""
        self.strike(slot)
        step_s = NEAR_S if slot.until_s - now_s < FAR_S else FAR_S
        tick = (int(slot.until_s) // step_s + 1) * (step_s // NEAR_S)
        first = self._ticks.get(tick)
        if first is not None:
            first.due_before = slot
        slot.due, slot.due_after = tick, first
        self._ticks[tick] = slot
        self._next = min(self._next, tick)

    def strike(self, slot: Slot) -> None:
        """Take a slot out, if it is in."""
        before, after = slot.due_before, slot.due_after
        if after is not None:
            after.due_before = before
        if before is not None:
            before.due_after = after
        elif self._ticks.get(slot.due) is slot:
            if after is None:
                del self._ticks[slot.due]
            else:
                self._ticks[slot.due] = after
        slot.due_before = slot.due_after = None

    def useless(self, now_s: float) -> Slot | None:
        """Some slot whose time is over."""
        while self._next * NEAR_S <= now_s:
            slot = self._ticks.get(self._next)
            if slot is not None:
                return slot
            self._next = min(self._ticks, default=NEVER)
        return None
