"""The whole store: the shelf in memory, and the slower tiers behind it, which a call waits for only a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from sidecar.clock import Clock
from sidecar.rules.cache.entry import Entry, Key, Variants
from sidecar.steps.base import CacheStore
from sidecar.stores.behind import WriteBehind
from sidecar.stores.codec import Record
from sidecar.stores.shelf import Shelf
from sidecar.stores.tier import Name, Tier, Wanted


@final
@dataclass(frozen=True, slots=True)
class Stats:
    """What is kept in one tier."""

    tier: str
    entries: int | None
    """Keys, for a slower tier; None if it cannot tell."""
    size_bytes: int | None
    bound_bytes: int | None
    evictions: int
    hits: int
    misses: int
    errors: int
    dropped: int


class Reading:
    """One read of one tier, which everybody shares who asks for the key meanwhile."""

    __slots__ = ("task", "void")

    def __init__(self, task: asyncio.Task[Variants]) -> None:
        self.task = task
        self.void = False
        """What it is about was forgotten meanwhile: its result is old."""


@final
class Tiers(CacheStore):
    """What the cache steps see of the store, and what operators do. `expires_at_s` says when an entry is of no use,
    Unix time."""

    def __init__(
        self,
        shelf: Shelf,
        tiers: Sequence[Tier],
        clock: Clock,
        expires_at_s: Callable[[Entry], float],
    ) -> None:
        self.shelf = shelf
        self._clock = clock
        self._wall = clock.wall
        self._expires_at_s = expires_at_s
        self._behind = tuple([WriteBehind(tier, clock) for tier in tiers])
        self._readings: dict[tuple[str, Key], Reading] = {}

    async def open(self) -> None:
        """Get the slower tiers ready; one that cannot be had is done without."""
        await asyncio.gather(*[behind.tier.open() for behind in self._behind])

    async def close(self) -> None:
        """Write what waits, and let go."""
        for reading in list(self._readings.values()):
            reading.task.cancel()
        await asyncio.gather(*[self._close(behind) for behind in self._behind])

    # The call path.

    def peek(self, key: Key) -> Variants:
        return self.shelf.get(key)

    def is_behind(self, key: Key) -> bool:
        for behind in self._behind:  # noqa: SIM110 (a generator would cost more than the loop)
            if behind.tier.may_have(key):
                return True
        return False

    async def fetch(self, key: Key) -> Variants:
        asked = [(behind.tier, self._read(behind, key)) for behind in self._behind if behind.tier.may_have(key)]
        started_s = self._clock.now()
        for tier, reading in asked:
            left_s = started_s + tier.patience_s - self._clock.now()
            if not reading.task.done():
                await asyncio.wait({reading.task}, timeout=max(0.0, left_s))
        return self.shelf.get(key)

    def put(self, key: Key, entry: Entry, replaced: Entry | None = None) -> None:
        until_s = self._expires_at_s(entry)
        self.shelf.put(key, entry, until_s, self._wall(), replaced)
        if self._behind:
            variants = self.shelf.look(key) or (entry,)
            self._write(key, Record(key, variants, until_s if len(variants) == 1 else self._until_s(variants)))

    def drop(self, key: Key, entry: Entry) -> None:
        self._void(key)
        self.shelf.drop(key, entry)
        left = self.shelf.look(key)
        self._write(key, Record(key, left, self._until_s(left)) if left else None)

    def invalidate(self, uri: bytes) -> int:
        self._void(uri)
        for behind in self._behind:
            behind.invalidate(uri)
        return self.shelf.invalidate(uri)

    # For operators.

    def entries(self) -> Iterator[tuple[Key, Entry]]:
        """What memory has; the slower tiers are not listed."""
        return self.shelf.all()

    async def purge(
        self,
        *,
        provider: str | None = None,
        route: str | None = None,
        uri: bytes | None = None,
        url: str | None = None,
        tag: str | None = None,
        key: Key | None = None,
        everything: bool = False,
        soft: bool = False,
    ) -> int:
        """Forget every entry, in every tier, that fits all that is given; how many they were.

        With `soft` they stay, stale as of now: each is asked about before it is served, and may still stand in.
        """
        wanted = Wanted(provider, route, uri, url, tag, key)
        if wanted == Wanted() and not everything:
            return 0
        self._void(b"")
        await asyncio.gather(*[behind.flush() for behind in self._behind])
        for behind in self._behind:
            behind.purge(wanted, soft=soft)
        names = self._purge_shelf(wanted, soft)
        for taken in await asyncio.gather(*[behind.tier.purge(wanted, soft=soft) for behind in self._behind]):
            names |= taken
        return len(names)

    def stats(self) -> list[Stats]:
        """Memory first, then the slower tiers."""
        shelf = self.shelf
        memory = Stats(
            tier="memory",
            entries=shelf.entries,
            size_bytes=shelf.size_bytes,
            bound_bytes=shelf.bound_bytes,
            evictions=shelf.evictions,
            hits=shelf.hits,
            misses=shelf.misses,
            errors=0,
            dropped=0,
        )
        return [memory, *[_stats(behind.tier) for behind in self._behind]]

    # How it is done.

    def _read(self, behind: WriteBehind, key: Key) -> Reading:
        at = (behind.tier.name, key)
        reading = self._readings.get(at)
        if reading is None:
            reading = self._readings[at] = Reading(asyncio.create_task(self._take(behind, key)))
            reading.task.add_done_callback(lambda _: self._readings.pop(at, None))
        return reading

    async def _take(self, behind: WriteBehind, key: Key) -> Variants:
        variants = behind.overrides(key)
        if variants is None:
            variants = await behind.tier.get(key)
        if self._readings[behind.tier.name, key].void:
            return ()
        now_s = self._clock.wall()
        # The oldest first, so that they come to stand in order.
        for entry in reversed(variants):
            self._shelve(key, entry, now_s)
        return variants

    def _shelve(self, key: Key, entry: Entry, now_s: float) -> None:
        """Keep what a slower tier had, unless it is of no use, or memory has the like of it and newer."""
        until_s = self._expires_at_s(entry)
        for kept in self.shelf.look(key):
            if kept.vary == entry.vary and kept.received_s >= entry.received_s:
                return
        if until_s > now_s:
            self.shelf.put(key, entry, until_s, now_s)

    def _until_s(self, variants: Variants) -> float:
        return max(map(self._expires_at_s, variants))

    def _write(self, key: Key, record: Record | None) -> None:
        for behind in self._behind:
            behind.put(key, record)

    def _void(self, start: bytes) -> None:
        """Reads on their way under keys that begin so bring what is no longer wanted."""
        for (_, key), reading in self._readings.items():
            if key.startswith(start):
                reading.void = True

    def _purge_shelf(self, wanted: Wanted, soft: bool) -> set[Name]:
        names: set[Name] = set()
        for key, entry in self.shelf.all():
            if wanted.fits(key, entry):
                names.add((key, entry.vary))
                if soft:
                    entry.expired = True
                else:
                    self.shelf.drop(key, entry)
        return names

    async def _close(self, behind: WriteBehind) -> None:
        await behind.flush()
        behind.stop()
        await behind.tier.close()


def _stats(tier: Tier) -> Stats:
    keys, size_bytes, bound_bytes = tier.size()
    counts = tier.counts
    return Stats(
        tier=tier.name,
        entries=keys,
        size_bytes=size_bytes,
        bound_bytes=bound_bytes,
        evictions=counts.evictions,
        hits=counts.hits,
        misses=counts.misses,
        errors=counts.errors,
        dropped=counts.dropped,
    )
