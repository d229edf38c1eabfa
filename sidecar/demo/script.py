"""The play: what the provider does and when. Time here is the story's, which runs `speed` times as fast as a clock.

What may live here: acts and their times. No sockets, no screen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Health(StrEnum):
    """How the provider is."""

    WELL = "well"
    SLOW = "slow"
    FAILING = "failing"
    DARK = "dark"


@dataclass(frozen=True, slots=True)
class Act:
    """One stretch of the story."""

    title: str
    health: Health
    lasts_s: float
    says: str
    """What the provider does, for the audience."""


ACTS: Final = (
    Act("well", Health.WELL, 5.0, "The provider answers within 50 ms."),
    Act("slow", Health.SLOW, 7.0, "Every other answer takes two seconds."),
    Act("500", Health.FAILING, 6.0, "Every answer is a 500."),
    Act("dark", Health.DARK, 8.0, "Calls are taken, and never answered."),
    Act("well again", Health.WELL, 9.0, "The provider answers within 50 ms again."),
)
LASTS_S: Final = sum(act.lasts_s for act in ACTS)


def spans() -> Iterator[tuple[Act, float, float]]:
    """Each act with when it begins and ends."""
    began_s = 0.0
    for act in ACTS:
        yield act, began_s, began_s + act.lasts_s
        began_s += act.lasts_s


def act_at(at_s: float) -> Act:
    """The act at a time of the story; the last one after the end."""
    return next((act for act, _, ends_s in spans() if at_s < ends_s), ACTS[-1])


class Tempo:
    """The story's time. It stands at zero until `start`."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._began_s: float | None = None

    def start(self) -> None:
        self._began_s = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds of the story so far."""
        return 0.0 if self._began_s is None else (time.monotonic() - self._began_s) * self.speed

    def real_s(self, story_s: float) -> float:
        """How long something of the story takes by the clock."""
        return story_s / self.speed
