"""One provider's (or route's) limits together: so many calls a second, so many at once, and how long to queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecar.rules.bucket import Bucket
from sidecar.rules.concurrency import Concurrency


@dataclass(frozen=True, slots=True)
class LimitSettings:
    rate_per_s: float | None = None
    """Calls a second; None for no such limit."""
    burst: int = 1
    """Calls that may go at once after a quiet time."""
    concurrency: int | None = None
    """Calls under way at once, reply bodies included; None for no such limit."""
    max_wait_s: float = 0.0
    """How long a call may queue before it is refused."""
    learn: bool = False
    """While the provider throttles: let nothing through until the time that it named, then less than `rate_per_s`."""


@dataclass(frozen=True, slots=True)
class LimiterMemory:
    """What a provider has taught a limiter, for another process."""

    hold_until_s: float
    """Nothing goes before this, on the monotonic scale."""
    rate_ratio: float
    """The share of the configured rate that is in force then."""


class Limiter:
    """What the limit step asks: a bucket, slots, or both. Survives reloads."""

    __slots__ = ("_changed", "bucket", "hold_until_s", "refused", "settings", "slots")

    def __init__(
        self,
        settings: LimitSettings,
        memory: LimiterMemory | None = None,
        changed: Callable[[Limiter], None] | None = None,
    ) -> None:
        """`memory` is what was learned in an earlier process; `changed` is called whenever something is learned."""
        self.settings = settings
        self._changed = changed
        self.hold_until_s = 0.0
        """Nothing goes before this: the provider asked for quiet."""
        self.refused = 0
        """Calls refused, or in a dry run found wanting, since the start."""
        self.bucket = None if settings.rate_per_s is None else Bucket(settings.rate_per_s, settings.burst)
        self.slots = None if settings.concurrency is None else Concurrency(settings.concurrency)
        if memory is not None:
            self.hold_until_s = memory.hold_until_s
            if self.bucket is not None:
                self.bucket.recall(memory.rate_ratio, memory.hold_until_s)

    def configure(self, settings: LimitSettings) -> None:
        """Take new numbers; a limit that stays keeps its tokens and its queue.

        One that is dropped is opened wide instead of forgotten, so that those who wait for it are let in, and its
        slots are still counted if it comes back.
        """
        if settings == self.settings:
            return
        self.settings = settings
        self._configure_bucket(settings)
        self._configure_slots(settings)

    def reserve(self, now_s: float, most_s: float) -> float:
        """Seconds until the call may go, as far as time decides. More than `most_s` means that nothing was taken."""
        bucket, hold_s = self.bucket, self.hold_until_s - now_s
        if hold_s <= 0:
            return 0.0 if bucket is None else bucket.reserve(now_s, most_s)
        if bucket is None or hold_s > most_s:
            return hold_s
        return hold_s + bucket.reserve(self.hold_until_s, most_s - hold_s)

    def refund(self) -> None:
        """A call that reserved will not go after all."""
        if self.bucket is not None:
            self.bucket.refund()

    def throttled(self, now_s: float, admitted_s: float, wait_s: float | None) -> None:
        """The provider asked a call that was admitted at `admitted_s` to slow down, and perhaps said until when."""
        self.hold_until_s = max(self.hold_until_s, now_s + (wait_s or 0.0))
        if self.bucket is not None:
            self.bucket.throttled(now_s, admitted_s, self.hold_until_s)
        if self._changed is not None:
            self._changed(self)

    def memory(self, now_s: float) -> LimiterMemory | None:
        """What another process needs, to be as careful as this one; None where nothing is left of what was learned."""
        bucket = self.bucket
        if bucket is not None:
            bucket.tokens(now_s)  # That is, bring it up to date.
        ratio = 1.0 if bucket is None else bucket.rate_per_s / bucket.ceiling_per_s
        if self.hold_until_s <= now_s and ratio >= 1.0:
            return None
        return LimiterMemory(max(now_s, self.hold_until_s), ratio)

    def snapshot(self, now_s: float) -> dict[str, object]:
        bucket, slots, settings = self.bucket, self.slots, self.settings
        shown: dict[str, object] = {
            "refused": self.refused,
            "max_wait_s": settings.max_wait_s,
            "held_s": round(max(0.0, self.hold_until_s - now_s), 3),
        }
        if bucket is not None and settings.rate_per_s is not None:
            tokens = bucket.tokens(now_s)
            shown["rate"] = {
                "configured_per_s": bucket.ceiling_per_s,
                "effective_per_s": round(bucket.rate_per_s, 3),
                "burst": bucket.burst,
                "tokens": round(tokens, 3),
                "learn": settings.learn,
            }
        if slots is not None and settings.concurrency is not None:
            shown["concurrency"] = {"limit": slots.limit, "in_use": slots.in_use, "waiting": slots.waiting}
        return shown

    def _configure_bucket(self, settings: LimitSettings) -> None:
        if settings.rate_per_s is None:
            self.bucket = None
        elif self.bucket is None:
            self.bucket = Bucket(settings.rate_per_s, settings.burst)
        else:
            self.bucket.configure(settings.rate_per_s, settings.burst)

    def _configure_slots(self, settings: LimitSettings) -> None:
        if self.slots is None:
            self.slots = None if settings.concurrency is None else Concurrency(settings.concurrency)
        else:
            self.slots.configure(_NO_LIMIT if settings.concurrency is None else settings.concurrency)


_NO_LIMIT: Final = 2**62
