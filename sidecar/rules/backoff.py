"""How long to wait before the next attempt: exponential, jittered, and never shorter than the provider asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_MOST_DOUBLINGS: Final = 62
"""Enough to reach any cap, and no overflow however many attempts there are."""


class Jitter(StrEnum):
    FULL = "full"
    """Anywhere from nothing to the whole delay: spreads a crowd best."""
    EQUAL = "equal"
    """At least half the delay."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class BackoffSettings:
    base_s: float = 0.2
    cap_s: float = 10.0
    jitter: Jitter = Jitter.FULL


def doubled_s(base_s: float, times: int, cap_s: float) -> float:
    """`base_s` doubled `times` times, at most `cap_s`."""
    return min(cap_s, base_s * float(2 ** min(times, _MOST_DOUBLINGS)))


def backoff_s(settings: BackoffSettings, retry: int, draw: float, hint_s: float | None = None) -> float:
    """Seconds before retry number `retry` (1 is the first); `draw` is in [0, 1)."""
    whole_s = doubled_s(settings.base_s, retry - 1, settings.cap_s)
    match settings.jitter:
        case Jitter.FULL:
            delay_s, spread_s = whole_s * draw, settings.base_s * draw
        case Jitter.EQUAL:
            delay_s, spread_s = whole_s * (1 + draw) / 2, settings.base_s * draw
        case _:
            delay_s, spread_s = whole_s, 0.0
    if hint_s is None:
        return delay_s
    # A hint gives everybody the same moment, so those who obey it are spread behind it.
    return max(delay_s, hint_s + spread_s)
