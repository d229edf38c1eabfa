"""How many retries a provider's calls may add: a share of the calls, and a floor so that quiet times may retry too.

One budget serves all of a provider's routes, so an outage multiplies load by at most `1 + ratio`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from sidecar.rules.window import Window

WINDOW_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    ratio: float = 0.2
    """Retries allowed for each call."""
    floor_per_s: float = 3.0
    """Retries allowed however few the calls are."""


@final
class Budget:
    """Calls pay in, retries draw out, and both are forgotten after `WINDOW_S`."""

    __slots__ = ("_window", "refused", "settings")

    def __init__(self, settings: BudgetSettings) -> None:
        self.settings = settings
        self.refused = 0
        self._window = Window(WINDOW_S)

    def configure(self, settings: BudgetSettings) -> None:
        self.settings = settings

    def deposit(self, now_s: float) -> None:
        """One call."""
        self._window.count(now_s)

    def charge(self, now_s: float) -> None:
        """A retry that happens anyway (the application's SDK made it) uses up the budget like ours."""
        self._window.mark(now_s)

    def withdraw(self, now_s: float) -> bool:
        """Take one retry out; False, and nothing taken, if the budget is spent."""
        if self.left(now_s) < 1 - 1e-9:  # 0.29 × 100 is a little less than 29 in floats
            self.refused += 1
            return False
        self._window.mark(now_s)
        return True

    def left(self, now_s: float) -> float:
        """Retries that may be made now; negative when SDKs have overdrawn it."""
        window = self._window
        window.turn(now_s)
        return self.settings.floor_per_s * WINDOW_S + self.settings.ratio * window.plain - window.marked

    def snapshot(self, now_s: float) -> dict[str, float | int]:
        left = self.left(now_s)
        return {
            "left": max(0.0, round(left, 1)),
            "calls": self._window.plain,
            "retries": self._window.marked,
            "refused": self.refused,
        }
