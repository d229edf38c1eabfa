"""The last calls, as `/calls` shows them."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, final

from sidecar.call import Served
from sidecar.clock import Clock

CALLS_KEPT: Final = 200


@final
class CallEntry:
    """One call that ended. No target, no fields, no body: nothing in it can be secret."""

    __slots__ = (
        "attempts",
        "decisions",
        "duration_s",
        "id",
        "method",
        "mode",
        "outcome",
        "provider",
        "reason",
        "route",
        "served",
        "started_s",
        "status",
        "trace_id",
        "waited_s",
    )

    def __init__(  # noqa: PLR0917
        self,
        id: str,  # noqa: A002 - as `/calls` calls it
        trace_id: str | None,
        started_s: float,
        duration_s: float,
        waited_s: float,
        provider: str,
        route: str,
        mode: str,
        method: str,
        status: int | None,
        outcome: str,
        reason: str | None,
        attempts: int,
        decisions: list[tuple[str, str, float]] | None,
        served: Served | None = None,
    ) -> None:
        self.id = id
        self.trace_id = trace_id
        self.started_s = started_s
        """On the monotonic clock; shown as Unix time."""
        self.duration_s = duration_s
        self.waited_s = waited_s
        self.provider = provider
        self.route = route
        self.mode = mode
        self.method = method
        self.status = status
        """The reply's; None when the sidecar answered with an error or nobody waited for the answer."""
        self.outcome = outcome
        """A verdict, or `cancelled`."""
        self.reason = reason
        self.attempts = attempts
        self.decisions = decisions
        """(step, decision, monotonic seconds)."""
        self.served = served
        """None for what the provider just said; shown as `served`, `age_s` and, as a failure's would be, `reason`."""

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
    served, age_s = entry.shown_served
    why_served = None if entry.served is None else entry.served.reason or None
    return {
        "id": entry.id,
        "trace_id": entry.trace_id,
        "started_s": round(entry.started_s + epoch_s, 3),
        "duration_s": round(entry.duration_s, 6),
        "waited_s": round(entry.waited_s, 6),
        "provider": entry.provider,
        "route": entry.route,
        "mode": entry.mode,
        "method": entry.method,
        "status": entry.status,
        "outcome": entry.outcome,
        "reason": entry.reason or why_served,
        "attempts": entry.attempts,
        "decisions": [
            {"step": step, "decision": decision, "at_s": round(when_s - entry.started_s, 6)}
            for step, decision, when_s in entry.decisions or ()
        ],
        "served": served,
        "age_s": age_s,
    }
