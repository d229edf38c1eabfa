"""What is asked of the stores at each collection."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from sidecar.rules.cache.entry import Entry, Key, Variants
from sidecar.serving.watching import watch_cache, watch_troubles
from sidecar.stores.shelf import Shelf
from sidecar.stores.tier import Batch, Counts, Name, Wanted
from sidecar.stores.tiers import Tiers
from sidecar.telemetry.instruments import Meters
from tests.fakes import FakeClock
from tests.telemetry.test_calls import points


class Elsewhere:
    """A tier that cannot tell its size."""

    name = "redis"
    patience_s = 0.005

    def __init__(self) -> None:
        self.counts = Counts(hits=3, misses=4, errors=5, dropped=6)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def may_have(self, key: Key) -> bool:
        return False

    async def get(self, key: Key) -> Variants:
        return ()

    async def write(self, batch: Batch) -> bool:
        return True

    async def purge(self, wanted: Wanted, *, soft: bool) -> AbstractSet[Name]:
        return set()

    def size(self) -> tuple[int | None, int | None, int | None]:
        return None, None, None


async def test_what_is_kept_is_measured() -> None:
    meters, clock = Meters(), FakeClock()
    tiers = Tiers(Shelf(65536, lambda _provider: False), [Elsewhere()], clock, lambda _entry: 3e9)
    watch_cache(meters, tiers)
    entry = Entry(200, b"OK", b"", b"x", clock.wall(), clock.wall(), (), "stripe", "-", "https://api.stripe.com", b"/")
    tiers.put(b"k" * 16, entry)
    tiers.peek(b"k" * 16)
    tiers.peek(b"l" * 16)

    assert points(meters, "sidecar.cache.entries") == {("memory",): 1}
    assert points(meters, "sidecar.cache.size") == {("memory",): entry.served_bytes}
    assert points(meters, "sidecar.cache.limit") == {("memory",): 65536}
    assert points(meters, "sidecar.cache.evictions") == {("memory",): 0, ("redis",): 0}
    assert points(meters, "sidecar.cache.drops") == {("memory",): 0, ("redis",): 6}
    assert points(meters, "sidecar.cache.tier.requests") == {
        ("memory", "hit"): 1,
        ("memory", "miss"): 1,
        ("memory", "error"): 0,
        ("redis", "hit"): 3,
        ("redis", "miss"): 4,
        ("redis", "error"): 5,
    }
    await tiers.close()


def test_what_is_done_without_is_measured() -> None:
    meters = Meters()
    watch_troubles(meters, lambda: {"breakers.json": "no space left on device", "memory": ""})

    assert points(meters, "sidecar.troubles") == {("breakers.json",): 1, ("memory",): 0}
