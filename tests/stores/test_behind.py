from __future__ import annotations

import asyncio

import pytest

from sidecar.stores.behind import GATHER_MOST, GATHER_S, URIS_MOST, WAITING_MOST, WriteBehind
from sidecar.stores.codec import Record
from sidecar.stores.tier import Wanted
from tests.fakes import FakeClock
from tests.stores.entries import NOW_S, make_entry, make_key
from tests.stores.fake_tier import FakeTier


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall_s=NOW_S)


@pytest.fixture
async def tier() -> FakeTier:
    return FakeTier()


@pytest.fixture
async def behind(tier: FakeTier, clock: FakeClock) -> WriteBehind:
    return WriteBehind(tier, clock)


def record(number: int, body: bytes = b"{}") -> Record:
    return Record(make_key(number), (make_entry(body),), NOW_S + 100)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_writes_are_gathered_for_a_moment(behind: WriteBehind, tier: FakeTier, clock: FakeClock) -> None:
    for number in (1, 2, 1):
        behind.put(make_key(number), record(number))
    await settle()
    assert tier.batches == []
    clock.advance(GATHER_S)
    await settle()
    assert [list(batch.records) for batch in tier.batches] == [[make_key(2), make_key(1)]]
    assert clock.pending == 0


async def test_many_go_at_once(behind: WriteBehind, tier: FakeTier) -> None:
    for number in range(GATHER_MOST):
        behind.put(make_key(number), record(number))
    await settle()
    assert len(tier.records) == GATHER_MOST


async def test_what_comes_while_it_writes_goes_next(behind: WriteBehind, tier: FakeTier) -> None:
    tier.gate.clear()
    flushing = asyncio.create_task(behind.flush())
    behind.put(make_key(1), record(1))
    await settle()
    behind.put(make_key(2), record(2))
    tier.gate.set()
    await flushing
    assert [list(batch.records) for batch in tier.batches] == [[make_key(1)], [make_key(2)]]


async def test_an_invalidation_overtakes_what_waits(behind: WriteBehind, tier: FakeTier) -> None:
    behind.put(make_key(1), record(1))
    behind.put(make_key(1, 5), record(1))
    behind.put(make_key(2), record(2))
    behind.invalidate(make_key(1))
    behind.put(make_key(1), record(1, b"new"))
    await behind.flush()
    assert tier.batches[0].uris == {make_key(1): NOW_S}
    assert tier.records == {make_key(1): record(1, b"new"), make_key(2): record(2)}


async def test_what_waits_or_is_being_written_is_known(behind: WriteBehind, tier: FakeTier) -> None:
    assert behind.overrides(make_key(1)) is None
    behind.put(make_key(1), record(1))
    behind.put(make_key(2), None)
    behind.invalidate(make_key(3))
    for _ in range(2):
        assert behind.overrides(make_key(1)) == record(1).variants
        assert behind.overrides(make_key(2)) == ()
        assert behind.overrides(make_key(3, 1)) == ()
        assert behind.overrides(make_key(4)) is None
        tier.gate.clear()
        flushing = asyncio.create_task(behind.flush())
        await settle()
    tier.gate.set()
    await flushing
    assert behind.overrides(make_key(1)) is None


async def test_what_is_refused_is_offered_again(behind: WriteBehind, tier: FakeTier, clock: FakeClock) -> None:
    tier.taking = False
    behind.put(make_key(1), record(1))
    behind.put(make_key(2), record(2))
    behind.put(make_key(3), record(3))
    tier.gate.clear()
    flushing = asyncio.create_task(behind.flush())
    await settle()
    behind.put(make_key(1), record(1, b"new"))
    behind.invalidate(make_key(2))
    tier.gate.set()
    await flushing
    assert tier.records == {}
    tier.taking = True
    clock.advance(1.0)
    await settle()
    assert tier.records == {make_key(1): record(1, b"new"), make_key(3): record(3)}
    assert make_key(2) in tier.batches[-1].uris


async def test_too_many_waiting_records_are_given_up(behind: WriteBehind, tier: FakeTier, clock: FakeClock) -> None:
    tier.gate.clear()
    for number in range(WAITING_MOST + GATHER_MOST + 10):
        behind.put(make_key(number), record(number))
        await asyncio.sleep(0)
    assert tier.counts.dropped == 10
    assert behind.waiting == WAITING_MOST + 10
    tier.gate.set()
    await behind.flush()
    assert len(tier.records) == WAITING_MOST + GATHER_MOST
    behind.put(make_key(1), record(1, bytes(20_000_000)))
    assert tier.counts.dropped == 11
    await behind.flush()
    assert make_key(1) not in tier.records, "what it had is older than what was given up"


@pytest.mark.parametrize("kind", ["uris", "keys"])
async def test_too_much_to_forget_clears_the_tier(behind: WriteBehind, tier: FakeTier, kind: str) -> None:
    tier.gate.clear()
    tier.records[make_key(77)] = record(77)
    for number in range(2 * (WAITING_MOST + URIS_MOST)):
        if kind == "uris":
            behind.invalidate(make_key(number))
        else:
            behind.put(make_key(number), None)
        await asyncio.sleep(0)
    tier.gate.set()
    await behind.flush()
    assert any(batch.clear for batch in tier.batches)
    assert max(len(batch.uris) for batch in tier.batches) <= URIS_MOST
    assert tier.records == {}


async def test_stopping_gives_up(behind: WriteBehind, tier: FakeTier, clock: FakeClock) -> None:
    behind.put(make_key(1), record(1))
    behind.stop()
    clock.advance(9.0)
    await settle()
    assert tier.batches == []


@pytest.mark.parametrize("soft", [False, True])
async def test_what_waits_does_not_bring_back_what_was_purged(behind: WriteBehind, tier: FakeTier, soft: bool) -> None:
    tier.taking = False
    behind.put(make_key(1), record(1))
    behind.put(make_key(2), Record(make_key(2), (make_entry(provider="other"),), NOW_S + 100))
    behind.put(make_key(3), None)
    await behind.flush()
    behind.purge(Wanted(provider="other"), soft=soft)
    tier.taking = True
    await behind.flush()
    assert make_key(1) in tier.records
    left = tier.records.get(make_key(2))
    assert (left is not None and left.variants[0].expired) == soft
