"""The last calls, as `/calls` shows them."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

from sidecar.call import Served
from sidecar.clock import Clock

CALLS_KEPT: Final = 200


class CallEntry(NamedTuple):
    """One call that ended. No target, no fields, no body: nothing in it can be secret."""

    id: str
    trace_id: str | None
    started_s: float
    """On the monotonic clock; shown as Unix time."""
    duration_s: float
    waited_s: float
    provider: str
    route: str
    mode: str
    method: str
    status: int | None
    """The reply's; None when the sidecar answered with an error or nobody waited for the answer."""
    outcome: str
    """A verdict, or `cancelled`."""
    reason: str | None
    attempts: int
    decisions: list[tuple[str, str, float]] | None
    """(step, decision, monotonic seconds)."""
    served: Served | None = None
    """None for what the provider just said; shown as `served`, `age_s` and, in the place of a failure's, `reason`."""

    @property
    def shown_served(self) -> tuple[str | None, float | None]:
        """What the reply was instead, and its age in seconds."""
        served = self.served
        if served is None:
            return None, None
        return served.source, None if served.age_s is None else round(served.age_s, 3)


class CallLog:
    """A ring of `CallEntry`, newest last. Entries' times come on the monotonic clock and are shown on the wall's."""

    def __init__(self, clock: Clock, kept: int = CALLS_KEPT) -> None:
        self._clock = clock
        self._entries: deque[CallEntry] = deque(maxlen=kept)
        self.append = self._entries.append

    def __len__(self) -> int:
        return len(self._entries)

    def as_json(self) -> list[dict[str, Any]]:
        """Newest first, ready for a JSON encoder. `at_s` of a decision counts from the call's start."""
        epoch_s = self._clock.wall() - self._clock.now()
        return [_shown(entry, epoch_s) for entry in reversed(self._entries)]


def _shown(entry: CallEntry, epoch_s: float) -> dict[str, Any]:
    shown = entry._asdict()
    shown["started_s"] = round(entry.started_s + epoch_s, 3)
    shown["duration_s"] = round(entry.duration_s, 6)
    shown["waited_s"] = round(entry.waited_s, 6)
    shown["decisions"] = [
        {"step": step, "decision": decision, "at_s": round(when_s - entry.started_s, 6)}
        for step, decision, when_s in entry.decisions or ()
    ]
    shown["served"], shown["age_s"] = entry.shown_served
    if entry.served is not None:
        shown["reason"] = entry.reason or entry.served.reason or None
    return shown
