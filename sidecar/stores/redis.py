"""The tier that sidecars share: a Redis, which a call waits for a few milliseconds at most, and never for a write.

A call stops waiting after `patience_s`; the read goes on, and what it brings is on the shelf for the next. Three reads
in a row that failed or were that slow, and Redis is left alone for a while, so that one which is ill costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from sidecar.clock import Clock
from sidecar.errors import SettingsError
from sidecar.rules.cache.entry import Key, Variants
from sidecar.stores.codec import Codec, Record, decode_head
from sidecar.stores.rest import Rest
from sidecar.stores.tier import Batch, Counts, Name, Wanted, split

if TYPE_CHECKING:
    from sidecar.stores.redis_cache import Found, RecordCache

log = logging.getLogger(__name__)

READS_AT_ONCE: Final = 64
HEAD_BYTES: Final = 16 * 1024
MOST_TTL_S: Final = 30 * 86_400.0
TROUBLE: Final = Exception
"""Not only what the client declares: nobody knows what it makes of a peer that speaks something else."""


class RedisTier:
    """`stores/tier.py: Tier` over a `RecordCache`.

    Making one raises `SettingsError` for a URL that cannot be used, and where the client is not installed.
    """

    name: str = "redis"

    def __init__(self, url: str, codec: Codec, clock: Clock, patience_s: float) -> None:
        self.counts = Counts()
        self.patience_s: float = patience_s
        self._codec = codec
        self._clock = clock
        self._cache = _cache(url, codec, patience_s)
        self._reads = Rest()
        self._writes = Rest()
        self._reading = 0
        self._greeting: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, without waiting for it: a call should not find that still to be done."""
        self._greeting = asyncio.create_task(self._greet(), name="sidecar-cache-redis-connect")

    async def close(self) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
        try:
            await self._cache.close()
        except TROUBLE:
            self.counts.errors += 1

    def may_have(self, key: Key) -> bool:
        return self._reading < READS_AT_ONCE and self._reads.admits(self._clock.now())

    async def get(self, key: Key) -> Variants:
        started_s = self._clock.now()
        self._reads.begin(started_s)
        self._reading += 1
        try:
            found, mark = await self._cache.read(key)
        except TROUBLE as error:
            self._failed(self._reads, error)
            return ()
        finally:
            self._reading -= 1
        if self._clock.now() - started_s > self.patience_s:
            self._failed(self._reads, None)
        else:
            self._went_well(self._reads)
        return self._believed(key, found, mark)

    async def write(self, batch: Batch) -> bool:
        now_s = self._clock.now()
        if not self._writes.admits(now_s):
            return False
        self._writes.begin(now_s)
        try:
            await self._write(batch)
        except TROUBLE as error:
            self._failed(self._writes, error)
            return False
        self._went_well(self._writes)
        return True

    async def purge(self, wanted: Wanted, *, soft: bool) -> set[Name]:
        names: set[Name] = set()
        cursor = -1
        try:
            while cursor:
                cursor, keys = await self._cache.scan(wanted.key or wanted.uri or b"", max(0, cursor))
                names |= await self._purge(keys, wanted, soft)
        except TROUBLE as error:
            self.counts.errors += 1
            log.warning("a purge did not reach all of Redis", extra={"reason": type(error).__name__})
        return names

    def size(self) -> tuple[int | None, int | None, int | None]:
        return None, None, None

    # How it is done.

    async def _greet(self) -> None:
        try:
            await self._cache.raw("ping")
        except TROUBLE as error:
            self._failed(self._reads, error)

    def _believed(self, key: Key, found: Found, mark: Found) -> Variants:
        """What may be used of what was found: ours, under its own key, and asked for since it was last invalidated."""
        if isinstance(found, Record) and found.key == key and isinstance(mark, float):
            variants = tuple([entry for entry in found.variants if entry.requested_s > mark])
            if variants:
                self.counts.hits += 1
                return variants
        self.counts.misses += 1
        return ()

    async def _write(self, batch: Batch) -> None:
        if batch.clear:
            cursor = -1
            while cursor:
                cursor, keys = await self._cache.scan(b"", max(0, cursor))
                await self._cache.forget(keys)
        if batch.uris:
            await self._cache.invalidate(batch.uris.items())
        await self._cache.forget([key for key, record in batch.records.items() if record is None])
        await self._put([record for record in batch.records.values() if record is not None])

    async def _put(self, records: list[Record]) -> None:
        now_s = self._clock.wall()
        wanted = [record for record in records if record.until_s > now_s]
        if not wanted:
            return
        # In a thread, since large bodies take a while to seal.
        values = await asyncio.to_thread(lambda: [self._codec.encode(record) for record in wanted])
        rows = [(record.key, value) for record, value in zip(wanted, values, strict=True)]
        await self._cache.write(rows, [min(MOST_TTL_S, record.until_s - now_s) for record in wanted])
        self.counts.writes += len(rows)

    async def _purge(self, keys: list[Key], wanted: Wanted, soft: bool) -> set[Name]:
        names: set[Name] = set()
        forgotten: list[Key] = []
        for key, head in zip(keys, await self._cache.heads(keys, HEAD_BYTES), strict=True):
            record = decode_head(head)
            if record is not None and not any(wanted.fits(key, entry) for entry in record.variants):
                continue
            # Either it is meant, or its head is too long to tell.
            whole, _ = await self._cache.read(key)
            if not isinstance(whole, Record) or whole.key != key:
                forgotten += [key] if wanted == Wanted() and not soft else []
                continue
            left, taken = split(whole, wanted, soft=soft)
            names |= taken
            if left is None:
                forgotten.append(key)
            elif taken:
                await self._put([left])
        await self._cache.forget(forgotten)
        return names

    def _failed(self, rest: Rest, error: BaseException | None) -> None:
        self.counts.errors += 1
        if rest.fail(self._clock.now()):
            reason = "slow" if error is None else type(error).__name__
            log.warning("Redis is in trouble: the cache does without it for a while", extra={"reason": reason})

    def _went_well(self, rest: Rest) -> None:
        if rest.succeed():
            log.info("Redis is well again")


def _cache(url: str, codec: Codec, patience_s: float) -> RecordCache:
    try:
        from sidecar.stores.redis_cache import RecordCache  # noqa: PLC0415
    except ImportError:
        raise SettingsError(
            "--redis / SIDECAR_REDIS: needs the Redis client, which is not installed: "
            "pip install 'resilience-sidecar[redis]'"
        ) from None
    return RecordCache(url, codec, patience_s)
