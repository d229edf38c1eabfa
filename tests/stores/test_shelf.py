from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.rules.cache.entry import URI_BYTES, Entry, Key
from sidecar.stores.calendar import Calendar
from sidecar.stores.fifo import Slot
from sidecar.stores.shelf import MOST_VARIANTS, SPARED_FOR_S, Shelf
from tests.stores.entries import NOW_S, make_entry, make_key

LONG_S = NOW_S + 1e6
EACH = make_entry(b"x" * 1000, packed=b"").size_bytes


def shelf_for(count: float, *sick: str) -> Shelf:
    return Shelf(int(EACH * count), lambda provider: provider in sick)


def put(shelf: Shelf, number: int, until_s: float = LONG_S, **given: object) -> Entry:
    entry = make_entry(b"x" * 1000, packed=b"", **given)
    shelf.put(make_key(number), entry, until_s, NOW_S)
    return entry


def kept(shelf: Shelf) -> list[int]:
    return [number for number in range(200) if shelf.look(make_key(number))]


def test_what_was_put_is_there() -> None:
    shelf = shelf_for(5)
    entry = put(shelf, 1)
    assert shelf.get(make_key(1)) == (entry,)
    assert shelf.get(make_key(2)) == ()
    assert (shelf.hits, shelf.misses, shelf.entries, shelf.size_bytes) == (1, 1, 1, entry.served_bytes)
    assert list(shelf.all()) == [(make_key(1), entry)]


def test_an_entry_takes_the_place_of_its_like_and_of_what_it_replaces() -> None:
    shelf, key = shelf_for(9), make_key(1)
    german = make_entry(vary=((b"accept-language", b"de"),))
    english = make_entry(vary=((b"accept-language", b"en"),), received_s=NOW_S + 1)
    for entry in (german, english):
        shelf.put(key, entry, LONG_S, NOW_S)
    assert shelf.get(key) == (english, german)
    newer = make_entry(vary=german.vary, received_s=NOW_S + 2)
    shelf.put(key, newer, LONG_S, NOW_S)
    assert shelf.get(key) == (newer, english)
    other = make_entry(vary=(), received_s=NOW_S + 3)
    shelf.put(key, other, LONG_S, NOW_S, replaced=newer)
    assert shelf.get(key) == (other, english)
    assert shelf.entries == 2


def test_variants_stand_newest_first_however_they_come() -> None:
    shelf, key = shelf_for(99), make_key(1)
    for at in (3, 1, 2, *range(4, 40)):
        shelf.put(key, make_entry(vary=((b"accept", b"%d" % at),), received_s=NOW_S + at), LONG_S, NOW_S)
    found = [entry.received_s - NOW_S for entry in shelf.get(key)]
    assert found == [float(at) for at in range(39, 39 - MOST_VARIANTS, -1)]
    assert shelf.entries == MOST_VARIANTS


def test_another_bound_holds_at_once_and_for_what_comes() -> None:
    shelf = shelf_for(10)
    for number in range(10):
        put(shelf, number)
    shelf.rebound(3 * EACH, NOW_S)
    assert shelf.size_bytes <= 3 * EACH
    assert len(kept(shelf)) == shelf.entries == 3
    for number in range(10, 20):
        put(shelf, number)
    assert shelf.size_bytes <= 3 * EACH
    shelf.rebound(20 * EACH, NOW_S)
    for number in range(20, 40):
        put(shelf, number)
    assert 10 * EACH < shelf.size_bytes <= 20 * EACH


def test_only_the_entry_itself_is_dropped() -> None:
    shelf, key = shelf_for(5), make_key(1)
    entry = put(shelf, 1)
    assert shelf.drop(key, make_entry(b"x" * 1000)) == 0
    assert shelf.drop(key, entry) == 1
    assert shelf.drop(key, entry) == 0
    assert (shelf.get(key), shelf.entries, shelf.size_bytes, shelf.holdings) == ((), 0, 0, {})


def test_a_uri_is_invalidated_for_everybody() -> None:
    shelf = shelf_for(9)
    for key in (make_key(1), make_key(1, 1), make_key(1, 2), make_key(2), make_key(2, 1)):
        shelf.put(key, make_entry(), LONG_S, NOW_S)
    assert shelf.invalidate(make_key(1)) == 3
    assert shelf.invalidate(make_key(1)) == 0
    assert sorted(key for key, _ in shelf.all()) == sorted([make_key(2), make_key(2, 1)])


def test_a_scan_passes_and_what_is_read_stays() -> None:
    shelf = shelf_for(20)
    for number in range(10):
        put(shelf, number)
        shelf.get(make_key(number))
    for number in range(10, 200):
        put(shelf, number)
    assert set(range(10)) <= set(kept(shelf))
    assert shelf.evictions == 200 - shelf.entries
    assert shelf.size_bytes <= shelf.bound_bytes


def test_what_comes_back_soon_after_it_left_goes_where_it_stays() -> None:
    """For most: a mark gives way to another in its place."""
    shelf = shelf_for(40)
    for number in range(80):
        put(shelf, number)
    left = [number for number in range(10) if not shelf.look(make_key(number))]
    assert len(left) == 10
    for number in left:
        put(shelf, number)
    for number in range(100, 180):
        put(shelf, number)
    assert sum(1 for number in left if shelf.look(make_key(number))) >= 2


def test_looking_is_no_sign_of_need() -> None:
    shelf = shelf_for(3)
    put(shelf, 0)
    shelf.look(make_key(0))
    for number in range(1, 4):
        put(shelf, number)
    assert not shelf.look(make_key(0))


def test_what_is_useless_leaves_first() -> None:
    shelf = shelf_for(11)  # Ten that have been served.
    for number in range(10):
        put(shelf, number, until_s=NOW_S + (10 if number == 7 else 10_000))
        shelf.get(make_key(number))
    shelf.put(make_key(50), make_entry(b"x" * 1000, packed=b""), LONG_S, NOW_S + 70)
    assert kept(shelf) == [0, 1, 2, 3, 4, 5, 6, 8, 9, 50]
    assert shelf.evictions == 0


def test_what_is_useless_leaves_without_need_too() -> None:
    shelf = shelf_for(100)
    for number in range(40):
        put(shelf, number, until_s=NOW_S + 5)
    for number in range(40, 60):
        shelf.put(make_key(number), make_entry(), LONG_S, NOW_S + 4000)
    assert shelf.entries == 20


def test_a_new_life_is_a_longer_one() -> None:
    shelf = shelf_for(2)
    put(shelf, 1, until_s=NOW_S + 5)
    put(shelf, 1, until_s=NOW_S + 50_000)
    shelf.put(make_key(2), make_entry(), LONG_S, NOW_S + 4000)
    assert shelf.look(make_key(1))


def test_the_sick_are_spared_while_the_healthy_have_something() -> None:
    sick: set[str] = set()
    shelf = Shelf(EACH * 10, lambda provider: provider in sick)
    for number in range(10):
        put(shelf, number, provider="ill" if number < 5 else "well")
    sick.add("ill")
    for number in range(10, 60):
        put(shelf, number, provider="well")
    assert kept(shelf)[:5] == [0, 1, 2, 3, 4]
    for number in range(60, 80):
        put(shelf, number, provider="ill")
    assert "well" not in shelf.holdings
    assert shelf.holdings["ill"].entries == 10


def test_the_recovered_are_spared_no_more_but_for_what_is_read() -> None:
    sick = {"ill"}
    shelf = Shelf(EACH * 10, lambda provider: provider in sick)
    for number in range(10):
        put(shelf, number, provider="ill" if number < 5 else "well")
    for number in range(10, 20):
        put(shelf, number, provider="well")
    sick.clear()
    shelf.get(make_key(2))
    for number in range(20, 26):
        entry = make_entry(b"x" * 1000, provider="well")
        shelf.put(make_key(number), entry, LONG_S, NOW_S + SPARED_FOR_S)
    assert [number for number in kept(shelf) if number < 5] == [2]


def test_what_is_larger_than_the_bound_is_not_kept_and_leaves_nothing_older() -> None:
    shelf, key = shelf_for(3), make_key(1)
    put(shelf, 1)
    put(shelf, 2)
    shelf.put(key, make_entry(bytes(10 * EACH)), LONG_S, NOW_S)
    assert kept(shelf) == [2]


def test_what_is_served_weighs_more_and_others_make_room_for_it() -> None:
    entry = make_entry(b"x" * 1000)
    shelf = Shelf(entry.size_bytes * 10, lambda _: False)
    for number in range(10):
        shelf.put(make_key(number), make_entry(b"x" * 1000), LONG_S, NOW_S)
    assert len(kept(shelf)) == 10
    for _ in range(3):
        assert shelf.get(make_key(9)) == (entry,)
    assert kept(shelf) == [*range(1, 10)]
    assert shelf.size_bytes == 8 * entry.size_bytes + entry.served_bytes


@pytest.mark.parametrize("until_s", [float("inf"), 0.0, -1.0])
def test_no_time_is_too_strange(until_s: float) -> None:
    shelf = shelf_for(3)
    for number in range(9):
        put(shelf, number, until_s=until_s)
    assert shelf.size_bytes <= shelf.bound_bytes


def _noted(calendar: Calendar) -> Iterator[Key]:
    for at, tick in calendar._ticks.items():
        assert tick.at == at
        slot: Slot | None = tick.first
        while slot is not None:
            assert slot.due is tick
            yield slot.key
            slot = slot.due_after


class AgainstAModel(RuleBasedStateMachine):
    """Whatever happens, the books agree with what is there, and nothing is there that was not put last."""

    def __init__(self) -> None:
        super().__init__()
        self.sick: set[str] = set()
        self.shelf = Shelf(EACH * 8, lambda provider: provider in self.sick)
        self.last: dict[tuple[Key, object], Entry] = {}
        self.now_s = NOW_S
        self.ages: Iterator[int] = count()

    numbers = st.integers(0, 12)
    partitions = st.none() | st.integers(0, 2)

    @rule(
        number=numbers,
        partition=partitions,
        size=st.integers(0, 3000),
        life=st.integers(-9, 9000),
        vary=st.integers(0, 2),
    )
    def put(self, number: int, partition: int | None, size: int, life: int, vary: int) -> None:
        key = make_key(number, partition)
        received_s = self.now_s + next(self.ages) / 1000
        varies = ((b"accept", b"%d" % vary),)
        entry = make_entry(bytes(size), provider=f"p{number % 3}", vary=varies, received_s=received_s)
        self.last[key, varies] = entry
        self.shelf.put(key, entry, self.now_s + life, self.now_s)

    @rule(number=numbers, partition=partitions)
    def get(self, number: int, partition: int | None) -> None:
        found = self.shelf.get(make_key(number, partition))
        assert [entry.received_s for entry in found] == sorted([entry.received_s for entry in found], reverse=True)

    @rule(number=numbers)
    def invalidate(self, number: int) -> None:
        self.shelf.invalidate(make_key(number))
        assert not any(key.startswith(make_key(number)) for key, _ in self.shelf.all())

    @precondition(lambda self: self.shelf.entries)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        key, entry = data.draw(st.sampled_from(list(self.shelf.all())))
        assert self.shelf.drop(key, entry) == 1
        assert entry not in self.shelf.look(key)

    @rule(provider=st.sampled_from(["p0", "p1", "p2"]))
    def fall_ill_or_recover(self, provider: str) -> None:
        self.sick ^= {provider}

    @rule(seconds=st.integers(1, 5000))
    def wait(self, seconds: int) -> None:
        self.now_s += seconds

    def weight(self, key: Key, entry: Entry) -> int:
        return entry.served_bytes if self.shelf._slots[key].is_served else entry.size_bytes

    @invariant()
    def books_agree(self) -> None:
        shelf, everything = self.shelf, list(self.shelf.all())
        assert shelf.size_bytes == sum(self.weight(key, entry) for key, entry in everything) <= shelf.bound_bytes
        assert shelf.entries == len(everything)
        for provider, holding in shelf.holdings.items():
            theirs = [self.weight(key, entry) for key, entry in everything if entry.provider == provider]
            assert (holding.entries, holding.size_bytes) == (len(theirs), sum(theirs))
        assert sum(holding.entries for holding in shelf.holdings.values()) == shelf.entries
        assert all(self.last[key, entry.vary] is entry for key, entry in everything)

    @invariant()
    def nothing_is_left_of_what_left(self) -> None:
        shelf, keys = self.shelf, {key for key, _ in self.shelf.all()}
        indexed = [key for found in shelf._uris.values() for key in ([found] if isinstance(found, bytes) else found)]
        assert sorted(indexed) == sorted(key for key in keys if len(key) > URI_BYTES)
        assert sorted(_noted(shelf._calendar)) == sorted(keys)
        lines = [shelf._small, shelf._main, *shelf._spared.values()]
        assert sum(line.size_bytes for line in lines) == shelf.size_bytes


AgainstAModel.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestAgainstAModel = AgainstAModel.TestCase
