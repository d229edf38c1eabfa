"""A token bucket that may be borrowed from: whoever has to wait knows at once for how long, and nobody is overtaken.

Told that the provider throttles, it slows down by half, and speeds up again with time, but never past the configured
rate (AIMD).
"""

from __future__ import annotations

from typing import Final

CUT_RATIO: Final = 0.5
"""What a throttled call leaves of the rate."""
LEAST_RATIO: Final = 0.02
"""The learned rate keeps this share of the configured one, so that it can find out when things are better."""
RECOVERY_PER_S_RATIO: Final = 0.02
"""The share of the configured rate that every second gives back."""


class Bucket:
    """Tokens drop in at `rate_per_s` up to `burst`; each call takes one, on credit if it is willing to wait."""

    __slots__ = ("_cut_s", "_filled_s", "_tokens", "burst", "ceiling_per_s", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self.ceiling_per_s = rate_per_s
        """The configured rate."""
        self.rate_per_s = rate_per_s
        """The rate in force: lower than the configured one after throttling."""
        self.burst = burst
        self._tokens = float(burst)
        self._filled_s = 0.0
        self._cut_s = 0.0

    def configure(self, rate_per_s: float, burst: int) -> None:
        """Change the numbers and keep what is owed; what has been learned stays in proportion."""
        self.rate_per_s *= rate_per_s / self.ceiling_per_s
        self.ceiling_per_s = rate_per_s
        self.burst = burst
        self._tokens = min(self._tokens, float(burst))

    def reserve(self, now_s: float, most_s: float) -> float:
        """Seconds until the call may go. More than `most_s` means that no token was taken."""
        self._fill(now_s)
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        wait_s = (1.0 - self._tokens) / self.rate_per_s
        if wait_s <= most_s:
            self._tokens -= 1.0
        return wait_s

    def refund(self) -> None:
        """Give back a token that was not used."""
        self._tokens = min(float(self.burst), self._tokens + 1.0)

    def throttled(self, now_s: float, admitted_s: float, until_s: float) -> None:
        """The provider throttled a call that was admitted at `admitted_s`: no token before `until_s`, and fewer then.

        The rate is cut once for each round of calls: one that left before the last cut says nothing of the rate since.
        """
        self._fill(now_s)
        self._filled_s = max(self._filled_s, until_s)
        self._tokens = min(self._tokens, 1.0)
        if admitted_s >= self._cut_s:
            self.rate_per_s = max(self.ceiling_per_s * LEAST_RATIO, self.rate_per_s * CUT_RATIO)
            self._cut_s = now_s

    def recall(self, ratio: float, at_s: float) -> None:
        """Go on from what was learned in an earlier process: `ratio` of the configured rate, with a token at `at_s`."""
        self.rate_per_s = self.ceiling_per_s * min(1.0, max(LEAST_RATIO, ratio))
        self._filled_s = at_s
        self._tokens = 1.0

    def tokens(self, now_s: float) -> float:
        """Tokens in the bucket now; negative when calls wait for theirs."""
        self._fill(now_s)
        return self._tokens

    def _fill(self, now_s: float) -> None:
        passed_s = now_s - self._filled_s
        if passed_s <= 0:
            return
        self._filled_s = now_s
        self._tokens = min(float(self.burst), self._tokens + passed_s * self.rate_per_s)
        if self.rate_per_s < self.ceiling_per_s:
            recovered_per_s = self.ceiling_per_s * RECOVERY_PER_S_RATIO * passed_s
            self.rate_per_s = min(self.ceiling_per_s, self.rate_per_s + recovered_per_s)
