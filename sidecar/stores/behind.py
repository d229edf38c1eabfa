"""Writes that nobody waits for: gathered for a moment, then handed to a slower tier as one batch."""

from __future__ import annotations

import asyncio
from typing import Final

from sidecar.clock import Alarm, Clock
from sidecar.rules.cache.entry import URI_BYTES, Key, Variants
from sidecar.stores.codec import Record
from sidecar.stores.shelf import total_bytes
from sidecar.stores.tier import Batch, Tier, Wanted, split

GATHER_S: Final = 0.1
GATHER_MOST: Final = 64
"""A batch goes when either is reached."""
FLUSH_S: Final = 2.0
AGAIN_S: Final = 1.0
"""How long after a refusal the same is offered again."""
WAITING_MOST: Final = 1024
WAITING_BYTES: Final = 16 * 1024 * 1024
"""Records beyond either are given up: the tier misses a reply, and the call notices nothing."""
URIS_MOST: Final = 4096
"""Invalidations must not be given up. With more than that waiting, the tier is cleared instead."""


class WriteBehind:
    """What waits to be written to one tier."""

    def __init__(self, tier: Tier, clock: Clock) -> None:
        self.tier = tier
        self._clock = clock
        self._waiting = Batch()
        self._waiting_bytes = 0
        self._written = Batch()
        """What is being written just now."""
        self._alarm: Alarm | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting.records)

    def put(self, key: Key, record: Record | None) -> None:
        """Write a record soon, in place of any that waits under its key; None to forget the key."""
        records = self._waiting.records
        before = records.pop(key, None)
        weight_bytes = _weight_bytes(record)
        self._waiting_bytes += weight_bytes if before is None else weight_bytes - _weight_bytes(before)
        records[key] = record
        if record is not None and (len(records) > WAITING_MOST or self._waiting_bytes > WAITING_BYTES):
            # Only forgotten there: what it had under this key is older.
            records[key] = None
            self._waiting_bytes -= weight_bytes
            self.tier.counts.dropped += 1
        if len(records) > 2 * WAITING_MOST:
            self._clear()
        self._soon(len(records))

    def invalidate(self, uri: bytes) -> None:
        waiting = self._waiting
        for key in [key for key in waiting.records if key.startswith(uri)]:
            self._waiting_bytes -= _weight_bytes(waiting.records.pop(key))
        waiting.uris[uri] = self._clock.wall()
        if len(waiting.uris) > URIS_MOST:
            self._clear()
        self._soon(len(waiting.uris))

    def overrides(self, key: Key) -> Variants | None:
        """What the tier will have under a key when all is written; None if nothing that waits is about it."""
        for batch in (self._waiting, self._written):
            if key in batch.records:
                record = batch.records[key]
                return () if record is None else record.variants
            if batch.clear or key[:URI_BYTES] in batch.uris:
                return ()
        return None

    async def flush(self) -> None:
        """Write all that waits now, if the tier takes it, and not for long."""
        self._wake()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=FLUSH_S)

    def purge(self, wanted: Wanted, *, soft: bool) -> None:
        """What waits must not bring back what a purge took from the tier."""
        for key, record in self._waiting.records.items():
            if record is not None:
                self._waiting.records[key] = split(record, wanted, soft=soft)[0]
        self._waiting_bytes = sum(map(_weight_bytes, self._waiting.records.values()))

    def stop(self) -> None:
        """Give up what still waits."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._task is not None:
            self._task.cancel()

    def _clear(self) -> None:
        self._waiting = Batch(clear=True)
        self._waiting_bytes = 0

    def _soon(self, count: int) -> None:
        if self._task is not None:
            return
        if count >= GATHER_MOST:
            self._wake()
        elif self._alarm is None:
            self._alarm = self._clock.at(self._clock.now() + GATHER_S, self._wake)

    def _wake(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._task is None and self._waiting:
            self._task = asyncio.create_task(self._drain(), name=f"sidecar-cache-{self.tier.name}")

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting, self._waiting_bytes = self._waiting, Batch(), 0
                self._written = batch
                if not await self.tier.write(batch):
                    self._take_back(batch)
                    self._alarm = self._clock.at(self._clock.now() + AGAIN_S, self._wake)
                    return
        finally:
            self._task = None
            self._written = Batch()

    def _take_back(self, batch: Batch) -> None:
        """What was refused waits again, but for what has been overtaken since."""
        newer = self._waiting
        if newer.clear:
            return
        records = {key: record for key, record in batch.records.items() if key[:URI_BYTES] not in newer.uris}
        self._waiting = Batch(records | newer.records, batch.uris | newer.uris, batch.clear)
        self._waiting_bytes = sum(map(_weight_bytes, self._waiting.records.values()))


def _weight_bytes(record: Record | None) -> int:
    return 0 if record is None else total_bytes(record.variants, False)
