"""Calls under way that others wait for, and what is remembered so that nobody waits in vain.

What may live here: the state that the cache steps of all routes share. No decisions on what may be kept.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from enum import Enum
from math import inf
from typing import Final, final

from sidecar.call import Failure, Reply
from sidecar.clock import Alarm, Clock
from sidecar.http1.tee import Tee
from sidecar.rules.cache.entry import URI_BYTES, Entry, Key
from sidecar.rules.cache.health import KEY_SICK_AFTER, Health

PASS_S: Final = 60.0
"""How long equal calls go side by side after an answer that may not be shared."""
MOST_REMEMBERED: Final = 4096


class How(Enum):
    """What became of the call that others waited for."""

    KEPT = "kept"
    """There is an entry: see whether it fits."""
    FAILED = "failed"
    """It failed in a way that another call would, too."""
    ALONE = "alone"
    """Its answer is nobody else's."""
    GONE = "gone"
    """Its application hung up or was out of time: somebody else must go."""


@final
class Landing:
    """How a flight ended, with what the others may have of it."""

    __slots__ = ("entry", "how", "outcome", "tee")

    def __init__(
        self, how: How, entry: Entry | None = None, tee: Tee | None = None, outcome: Failure | Reply | None = None
    ) -> None:
        self.how = how
        self.entry = entry
        """With `KEPT`; while its body is still arriving, that comes from `tee`."""
        self.tee = tee
        self.outcome = outcome
        """With `FAILED`; a reply's body is whole."""


ALONE: Final = Landing(How.ALONE)
GONE: Final = Landing(How.GONE)


@final
class Flight:
    """One call, and the futures of those who wait for it."""

    __slots__ = ("_waiting", "landing")

    def __init__(self) -> None:
        self.landing: Landing | None = None
        self._waiting: list[asyncio.Future[None]] | None = None

    @property
    def is_awaited(self) -> bool:
        return bool(self._waiting)

    def land(self, landing: Landing) -> None:
        """Say what became of it. A second word counts for those who come later."""
        self.landing = landing
        waiting, self._waiting = self._waiting, None
        for future in waiting or ():
            if not future.done():
                future.set_result(None)

    async def wait(self, clock: Clock, deadline_s: float) -> Landing | None:
        """How it ended; None if that is not known at the deadline (monotonic)."""
        landing = self.landing
        if landing is not None:
            return landing
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiting is None:
            self._waiting = []
        self._waiting.append(future)
        alarm: Alarm | None = None
        if deadline_s != inf:
            alarm = clock.at(deadline_s, lambda: None if future.done() else future.set_result(None))
        try:
            await future
        except BaseException:  # cancelled
            self._forget(future, alarm)
            raise
        self._forget(future, alarm)
        return self.landing

    def _forget(self, future: asyncio.Future[None], alarm: Alarm | None) -> None:
        if alarm is not None:
            alarm.cancel()
        if self._waiting is not None and future in self._waiting:
            self._waiting.remove(future)


@final
class Flights:
    """Flights by key, for one process."""

    __slots__ = ("_ailing", "_alone_until_s", "_invalidated_s", "_purged_s", "by_key", "tasks")

    def __init__(self) -> None:
        self.by_key: dict[Key, Flight] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        """Refreshes behind a caller's back, which nobody awaits."""
        self._ailing: OrderedDict[Key, Health] = OrderedDict()
        self._alone_until_s: OrderedDict[Key, float] = OrderedDict()
        self._invalidated_s: OrderedDict[bytes, float] = OrderedDict()
        self._purged_s = -inf

    def begin(self, key: Key) -> Flight:
        flight = self.by_key[key] = Flight()
        return flight

    def end(self, key: Key, flight: Flight) -> None:
        """Nobody can join any more."""
        if self.by_key.get(key) is flight:
            del self.by_key[key]

    def go_alone(self, key: Key, now_s: float) -> None:
        """Remember that this key's answers are not shared, so that equal calls do not queue for nothing."""
        _remember(self._alone_until_s, key, now_s + PASS_S)

    @property
    def any_alone(self) -> bool:
        """Whether there are any that `goes_alone` could name."""
        return bool(self._alone_until_s)

    def goes_alone(self, key: Key, now_s: float) -> bool:
        until_s = self._alone_until_s.get(key)
        return until_s is not None and now_s < until_s

    def shares(self, key: Key) -> None:
        """An answer could be shared after all."""
        if self._alone_until_s:
            self._alone_until_s.pop(key, None)

    def health_of(self, key: Key) -> Health | None:
        """Of one key whose last call failed; None if it did not."""
        return self._ailing.get(key) if self._ailing else None

    def failed(self, key: Key, reason: str, now_s: float, wait_s: float | None) -> None:
        health = self._ailing.get(key)
        if health is None:
            health = self._ailing[key] = Health(KEY_SICK_AFTER)
            if len(self._ailing) > MOST_REMEMBERED:
                self._ailing.popitem(last=False)
        health.failed(reason, now_s, wait_s, refused=False)

    def succeeded(self, key: Key) -> None:
        if self._ailing:
            self._ailing.pop(key, None)

    def invalidate(self, uri: bytes, now_s: float) -> None:
        """An unsafe method has changed what is there: what was asked before must not be kept."""
        _remember(self._invalidated_s, uri, now_s)

    def purge(self, now_s: float) -> None:
        """Somebody wants kept replies gone: nothing that was asked before is kept, whatever it is about."""
        self._purged_s = now_s

    def is_outdated(self, key: Key, requested_s: float) -> bool:
        """Whether what was asked at `requested_s` may have been overtaken by a change of its target, or a purge."""
        if requested_s <= self._purged_s:
            return True
        if not self._invalidated_s:
            return False
        changed_s = self._invalidated_s.get(key[:URI_BYTES])
        return changed_s is not None and requested_s <= changed_s


def _remember(table: OrderedDict[bytes, float], key: bytes, value: float) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > MOST_REMEMBERED:
        table.popitem(last=False)
