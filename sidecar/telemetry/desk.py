"""What the books of all routes share."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecar.clock import Clock
from sidecar.errors import ClientError, Verdict, WireError
from sidecar.telemetry.calls import CallLog
from sidecar.telemetry.instruments import Meters
from sidecar.telemetry.logs import Repeats
from sidecar.telemetry.spans import SpanRecord

CANCELLED: Final = "cancelled"
"""The outcome of a call whose application went away: neither good nor bad."""
BROKEN: Final = "broken"
"""The reason of a call that met a fault of ours."""
KNOWN_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))


def method_label(method: str) -> str:
    """`http.request.method`: methods that no standard names share one value, as anyone can make them up."""
    return method if method in KNOWN_METHODS else "_OTHER"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where books write, and what they read the time from."""

    meters: Meters
    calls: CallLog
    clock: Clock
    repeats: Repeats
    offer_span: Callable[[SpanRecord], None] | None
    """None when no spans are made."""

    def unix_ns(self, monotonic_s: float) -> int:
        return int((self.clock.wall() - self.clock.now() + monotonic_s) * 1e9)


def broken_off(error: BaseException | None) -> tuple[str, str | None]:
    """(outcome, reason) of a call whose reply began and did not end: the provider broke it off, or the app went."""
    if isinstance(error, WireError):
        return Verdict.TRANSIENT, error.reason
    return CANCELLED, None


def not_answered(error: BaseException | None) -> tuple[str, str]:
    """(outcome, reason) of a call that ended in an exception."""
    if isinstance(error, CancelledError):
        return CANCELLED, CANCELLED
    if isinstance(error, ClientError):
        return CANCELLED, error.reason
    return Verdict.LOCAL, BROKEN
