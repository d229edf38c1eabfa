import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.steps.flight import ALONE, GONE, MOST_REMEMBERED, PASS_S, Flight, Flights
from tests.fakes import FakeClock, turn_loop

KEY = b"k" * 16


async def test_all_who_wait_hear_of_the_landing_and_so_do_those_who_come_late() -> None:
    clock, flight = FakeClock(), Flight()
    waiting = [asyncio.get_running_loop().create_task(flight.wait(clock, clock.now() + 10)) for _ in range(3)]
    await turn_loop()
    flight.land(ALONE)
    assert await asyncio.gather(*waiting) == [ALONE] * 3
    assert await flight.wait(clock, 0.0) is ALONE
    assert clock.pending == 0


async def test_who_waits_gives_up_at_its_deadline() -> None:
    clock, flight = FakeClock(), Flight()
    waiting = asyncio.get_running_loop().create_task(flight.wait(clock, clock.now() + 1))
    await turn_loop()
    clock.advance(1)
    assert await waiting is None
    flight.land(GONE)


async def test_who_is_cancelled_leaves_nothing_behind() -> None:
    clock, flight = FakeClock(), Flight()
    waiting = asyncio.get_running_loop().create_task(flight.wait(clock, clock.now() + 1))
    await turn_loop()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert clock.pending == 0


def test_ending_a_flight_leaves_a_later_one_alone() -> None:
    flights = Flights()
    first = flights.begin(KEY)
    second = flights.begin(KEY)
    flights.end(KEY, first)
    assert flights.by_key == {KEY: second}
    flights.end(KEY, second)
    assert flights.by_key == {}


def test_what_is_not_shared_is_remembered_for_a_while() -> None:
    flights = Flights()
    flights.go_alone(KEY, 100.0)
    assert flights.goes_alone(KEY, 100.0 + PASS_S - 0.1)
    assert not flights.goes_alone(KEY, 100.0 + PASS_S)
    flights.go_alone(KEY, 200.0)
    flights.shares(KEY)
    assert not flights.goes_alone(KEY, 200.0)


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_what_was_asked_before_a_change_or_a_purge_is_outdated(asked_s: float, changed_s: float) -> None:
    changed, purged = Flights(), Flights()
    changed.invalidate(KEY, changed_s)
    purged.purge(changed_s)
    assert changed.is_outdated(KEY, asked_s) is (asked_s <= changed_s)
    assert purged.is_outdated(KEY, asked_s) is (asked_s <= changed_s)
    assert not changed.is_outdated(b"other", asked_s)


def test_memory_is_bounded() -> None:
    flights = Flights()
    for number in range(MOST_REMEMBERED + 10):
        key = b"%d" % number
        flights.go_alone(key, 0.0)
        flights.invalidate(key, 1.0)
        flights.failed(key, "status-500", 0.0, None)
    assert not flights.goes_alone(b"0", 0.0)
    assert not flights.is_outdated(b"0", 0.5)
    assert flights.health_of(b"0") is None
    assert flights.health_of(b"10") is not None
    flights.succeeded(b"10")
    assert flights.health_of(b"10") is None
