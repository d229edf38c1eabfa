"""Whether a provider is sick, so that stale replies are served at once and somebody asks behind their back.

A breaker tells the same later and for another end: this begins with the second failure in a row, and costs the provider
one call at a time while it lasts.
"""

from __future__ import annotations

from typing import Final, final

ROUTE_SICK_AFTER: Final = 2
"""One failure alone may be a single bad item's."""
KEY_SICK_AFTER: Final = 1
WAIT_S: Final = 1.0
"""Between two refreshes while sick. It need not grow: the breaker holds back what should not reach the provider, and
says for how long."""


@final
class Health:
    """The outcomes of calls for one route, or for one key; it is sick after `sick_after` failures in a row. Times are
    monotonic seconds."""

    __slots__ = ("_failures", "_refreshing", "_sick_after", "_try_at_s", "reason")

    def __init__(self, sick_after: int) -> None:
        self._sick_after = sick_after
        self._failures = 0
        self._try_at_s = 0.0
        self._refreshing = False
        self.reason = ""
        """Of the last failure, as `Served.reason` has it."""

    @property
    def sick(self) -> bool:
        return self._failures >= self._sick_after

    def may_refresh(self, now_s: float) -> bool:
        """Whether a stale reply may be refreshed behind its caller's back: while sick, one at a time and seldom."""
        return not self.sick or (not self._refreshing and now_s >= self._try_at_s)

    def began(self) -> None:
        """A refresh is under way."""
        self._refreshing = True

    def ended(self) -> None:
        self._refreshing = False

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, reason: str, now_s: float, wait_s: float | None, refused: bool) -> None:
        """A call failed in a way that a stale reply may stand in for. `refused` by the breaker, which has seen enough;
        `wait_s` is how long to stay away, if anybody said."""
        self.reason = reason
        self._failures = max(self._failures + 1, self._sick_after if refused else 0)
        self._try_at_s = now_s + (WAIT_S if wait_s is None else wait_s)
