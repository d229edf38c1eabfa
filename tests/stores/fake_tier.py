"""A slower tier that does as it is told, and remembers what it was asked."""

from __future__ import annotations

import asyncio

from sidecar.rules.cache.entry import Key, Variants
from sidecar.stores.codec import Record
from sidecar.stores.tier import Batch, Counts, Name, Wanted, split


class FakeTier:
    def __init__(self, name: str = "fake", patience_s: float = 5.0) -> None:
        self.name: str = name
        self.patience_s: float = patience_s
        self.counts = Counts()
        self.records: dict[Key, Record] = {}
        self.batches: list[Batch] = []
        self.reads: list[Key] = []
        self.taking = True
        """False to refuse writes."""
        self.gate = asyncio.Event()
        """Closed to make reads and writes wait."""
        self.gate.set()
        self.is_open = False

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    def may_have(self, key: Key) -> bool:
        return key in self.records

    async def get(self, key: Key) -> Variants:
        self.reads.append(key)
        found = self.records.get(key)
        await self.gate.wait()
        return () if found is None else found.variants

    async def write(self, batch: Batch) -> bool:
        self.batches.append(batch)
        await self.gate.wait()
        if not self.taking:
            return False
        for key in [key for key in self.records if batch.clear or key[:16] in batch.uris]:
            del self.records[key]
        for key, record in batch.records.items():
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record
        return True

    async def purge(self, wanted: Wanted, *, soft: bool) -> set[Name]:
        names: set[Name] = set()
        for key, record in list(self.records.items()):
            left, taken = split(record, wanted, soft=soft)
            names |= taken
            if left is None:
                del self.records[key]
            else:
                self.records[key] = left
        return names

    def size(self) -> tuple[int | None, int | None, int | None]:
        return len(self.records), None, None
