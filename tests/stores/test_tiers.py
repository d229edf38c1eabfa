from __future__ import annotations

import asyncio

import pytest

from sidecar.rules.cache.entry import Entry
from sidecar.stores.codec import Record
from sidecar.stores.shelf import Shelf
from sidecar.stores.tiers import Tiers
from tests.fakes import FakeClock
from tests.stores.entries import NOW_S, make_entry, make_key
from tests.stores.fake_tier import FakeTier

LIFE_S = 100.0
KEY = make_key(1)


def expires_at_s(entry: Entry) -> float:
    return entry.received_s + LIFE_S


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall_s=NOW_S)


@pytest.fixture
async def tier() -> FakeTier:
    return FakeTier()


@pytest.fixture
async def tiers(tier: FakeTier, clock: FakeClock) -> Tiers:
    return Tiers(Shelf(1_000_000, lambda provider: False), [tier], clock, expires_at_s)


def plant(tier: FakeTier, number: int, *entries: Entry) -> None:
    tier.records[make_key(number)] = Record(make_key(number), entries, NOW_S + LIFE_S)


async def flushed(tiers: Tiers) -> None:
    await asyncio.gather(*[behind.flush() for behind in tiers._behind])


async def test_what_is_put_is_at_hand_and_soon_behind(tiers: Tiers, tier: FakeTier) -> None:
    entry = make_entry()
    tiers.put(KEY, entry)
    assert tiers.peek(KEY) == (entry,)
    assert tier.records == {}
    await flushed(tiers)
    assert tier.records == {KEY: Record(KEY, (entry,), NOW_S + LIFE_S)}
    newer = make_entry(received_s=NOW_S + 5)
    tiers.put(KEY, newer, entry)
    await flushed(tiers)
    assert tier.records == {KEY: Record(KEY, (newer,), NOW_S + 5 + LIFE_S)}


async def test_what_is_dropped_is_gone_everywhere(tiers: Tiers, tier: FakeTier) -> None:
    german, english = (make_entry(vary=((b"accept-language", word),)) for word in (b"de", b"en"))
    for entry in (german, english):
        tiers.put(KEY, entry)
    tiers.drop(KEY, german)
    await flushed(tiers)
    assert tiers.peek(KEY) == tier.records[KEY].variants == (english,)
    tiers.drop(KEY, english)
    await flushed(tiers)
    assert tiers.peek(KEY) == ()
    assert tier.records == {}


async def test_what_is_behind_is_fetched_and_kept(tiers: Tiers, tier: FakeTier) -> None:
    entry = make_entry()
    plant(tier, 1, entry)
    assert tiers.is_behind(KEY)
    assert not tiers.is_behind(make_key(2))
    assert await tiers.fetch(KEY) == (entry,)
    assert tiers.peek(KEY) == (entry,)
    assert await tiers.fetch(make_key(2)) == ()
    assert tier.reads == [KEY]


async def test_many_share_one_read(tiers: Tiers, tier: FakeTier) -> None:
    entry = make_entry()
    plant(tier, 1, entry)
    tier.gate.clear()
    fetches = [asyncio.create_task(tiers.fetch(KEY)) for _ in range(100)]
    await asyncio.sleep(0.001)
    tier.gate.set()
    assert await asyncio.gather(*fetches) == [(entry,)] * 100
    assert tier.reads == [KEY]


async def test_a_caller_that_leaves_takes_nothing_from_the_others(tiers: Tiers, tier: FakeTier) -> None:
    plant(tier, 1, make_entry())
    tier.gate.clear()
    first, second = (asyncio.create_task(tiers.fetch(KEY)) for _ in range(2))
    await asyncio.sleep(0.001)
    first.cancel()
    tier.gate.set()
    assert len(await second) == 1


async def test_nobody_waits_longer_than_a_tier_is_worth(tiers: Tiers, tier: FakeTier) -> None:
    plant(tier, 1, make_entry())
    tier.patience_s = 0.002
    tier.gate.clear()
    assert await tiers.fetch(KEY) == ()
    reading = next(iter(tiers._readings.values()))
    tier.gate.set()
    await asyncio.wait({reading.task})
    assert len(tiers.peek(KEY)) == 1, "what comes late is there for the next"


async def test_a_stalled_tier_does_not_hide_the_other(clock: FakeClock) -> None:
    stalled, well = FakeTier("stalled", 0.002), FakeTier("well")
    tiers = Tiers(Shelf(1_000_000, lambda provider: False), [stalled, well], clock, expires_at_s)
    entry = make_entry()
    for tier in (stalled, well):
        plant(tier, 1, entry)
    stalled.gate.clear()
    assert await tiers.fetch(KEY) == (entry,)
    stalled.gate.set()
    await asyncio.wait({reading.task for reading in tiers._readings.values()})


async def test_of_two_tiers_the_newer_entry_wins(clock: FakeClock) -> None:
    one, two = FakeTier("one"), FakeTier("two")
    tiers = Tiers(Shelf(1_000_000, lambda provider: False), [one, two], clock, expires_at_s)
    old, new = make_entry(b"old", received_s=NOW_S - 9), make_entry(b"new")
    german = make_entry(vary=((b"accept-language", b"de"),), received_s=NOW_S - 1)
    plant(one, 1, new)
    plant(two, 1, german, old)
    assert await tiers.fetch(KEY) == (new, german)


async def test_what_is_of_no_use_any_more_is_left_behind(tiers: Tiers, tier: FakeTier) -> None:
    plant(tier, 1, make_entry(received_s=NOW_S - LIFE_S))
    assert await tiers.fetch(KEY) == ()
    assert tiers.shelf.entries == 0


@pytest.mark.parametrize("how", ["invalidate", "drop", "purge"])
async def test_what_is_forgotten_while_it_is_read_stays_forgotten(tiers: Tiers, tier: FakeTier, how: str) -> None:
    entry = make_entry()
    plant(tier, 1, entry)
    tier.gate.clear()
    fetching = asyncio.create_task(tiers.fetch(KEY))
    await asyncio.sleep(0.001)
    if how == "invalidate":
        tiers.invalidate(make_key(1))
    elif how == "drop":
        tiers.drop(KEY, entry)
    else:
        await tiers.purge(everything=True)
    tier.gate.set()
    assert await fetching == ()
    assert tiers.peek(KEY) == ()
    await flushed(tiers)
    assert tier.records == {}


async def test_what_waits_to_be_written_is_what_is_read(tiers: Tiers, tier: FakeTier) -> None:
    plant(tier, 1, make_entry(b"old"))
    plant(tier, 2, make_entry(b"old"))
    new = make_entry(b"new")
    tiers.put(KEY, new)
    tiers.invalidate(make_key(2))
    tiers.shelf.forget(KEY)
    assert await tiers.fetch(KEY) == (new,)
    assert await tiers.fetch(make_key(2)) == ()
    assert tier.reads == []


async def test_invalidation_counts_what_memory_had(tiers: Tiers, tier: FakeTier) -> None:
    for key in (KEY, make_key(1, 3), make_key(2)):
        tiers.put(key, make_entry())
    assert tiers.invalidate(make_key(1)) == 2
    await flushed(tiers)
    assert list(tier.records) == [make_key(2)]


async def test_a_purge_counts_each_entry_once(tiers: Tiers, tier: FakeTier) -> None:
    tiers.put(KEY, make_entry(tags=("a",)))
    tiers.put(make_key(2), make_entry(tags=("a", "b"), provider="other"))
    plant(tier, 3, make_entry(tags=("a",), target=b"/v1/charges/9"))
    plant(tier, 4, make_entry())
    assert await tiers.purge() == 0
    assert await tiers.purge(tag="b", provider="stripe") == 0
    assert await tiers.purge(url="https://api.stripe.com/v1/charges*") == 1
    assert await tiers.purge(tag="a") == 2
    assert list(tier.records) == [make_key(4)]
    assert list(tiers.entries()) == []
    assert await tiers.purge(everything=True) == 1


async def test_a_soft_purge_marks(tiers: Tiers, tier: FakeTier) -> None:
    entry = make_entry()
    tiers.put(KEY, entry)
    plant(tier, 2, make_entry())
    assert await tiers.purge(route="get-customer", soft=True) == 2
    assert entry.expired
    assert [record.variants[0].expired for record in tier.records.values()] == [True, True]
    assert tiers.peek(KEY) == (entry,)


async def test_stats_tell_of_every_tier(tiers: Tiers, tier: FakeTier) -> None:
    tiers.put(KEY, make_entry())
    tiers.peek(KEY)
    tiers.peek(make_key(2))
    plant(tier, 7, make_entry())
    tier.counts.hits = 5
    memory, slower = tiers.stats()
    assert (memory.tier, memory.entries, memory.hits, memory.misses) == ("memory", 1, 1, 1)
    assert memory.size_bytes == make_entry().served_bytes
    assert (slower.tier, slower.entries, slower.hits, slower.bound_bytes) == ("fake", 1, 5, None)


async def test_closing_writes_what_waits(tiers: Tiers, tier: FakeTier) -> None:
    await tiers.open()
    assert tier.is_open
    tiers.put(KEY, make_entry())
    await tiers.close()
    assert not tier.is_open
    assert list(tier.records) == [KEY]


async def test_memory_alone_is_a_store(clock: FakeClock) -> None:
    tiers = Tiers(Shelf(1_000_000, lambda provider: False), [], clock, expires_at_s)
    await tiers.open()
    tiers.put(KEY, make_entry())
    assert not tiers.is_behind(make_key(2))
    assert len(await tiers.fetch(KEY)) == 1
    assert await tiers.purge(everything=True) == 1
    await tiers.close()


async def test_closing_waits_for_no_read(tiers: Tiers, tier: FakeTier) -> None:
    plant(tier, 1, make_entry())
    tier.patience_s = 0.0
    tier.gate.clear()
    await tiers.fetch(KEY)
    await tiers.close()
    await asyncio.sleep(0)
    assert tiers._readings == {}
