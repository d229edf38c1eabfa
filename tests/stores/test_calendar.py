from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.stores.calendar import FAR_S, NEAR_S, Calendar
from sidecar.stores.fifo import Holding, Slot
from tests.stores.entries import NOW_S, make_entry, make_key


def noted(calendar: Calendar, until_s: float, now_s: float = NOW_S) -> Slot:
    slot = Slot(make_key(0), Holding("stripe"), make_entry(), 0, until_s)
    calendar.note(slot, now_s)
    return slot


@pytest.mark.parametrize(
    ("after_s", "late_s"), [(0.0, NEAR_S), (59.0, NEAR_S), (3599.0, NEAR_S), (3600.0, FAR_S), (1e6, FAR_S)]
)
def test_a_slot_is_found_soon_after_its_time_and_not_before(after_s: float, late_s: float) -> None:
    calendar = Calendar()
    slot = noted(calendar, NOW_S + after_s)
    assert calendar.useless(NOW_S + after_s - 0.001) is None
    assert calendar.useless(NOW_S + after_s + late_s) is slot


def test_a_slot_may_change_its_time() -> None:
    calendar = Calendar()
    slot = noted(calendar, NOW_S + 60)
    slot.until_s = NOW_S + 7200
    calendar.note(slot, NOW_S)
    assert calendar.useless(NOW_S + 7000) is None
    calendar.strike(slot)
    calendar.strike(slot)
    assert calendar.useless(NOW_S + 90_000) is None


@given(st.lists(st.floats(-9e9, 9e9)), st.floats(-9e9, 9e9))
def test_all_are_found_whose_time_is_over(times: list[float], now_s: float) -> None:
    calendar = Calendar()
    for until_s in times:
        noted(calendar, until_s, now_s)
    found = []
    while (slot := calendar.useless(now_s)) is not None:
        found.append(slot.until_s)
        calendar.strike(slot)
    assert all(until_s <= now_s for until_s in found)
    assert len(found) >= sum(until_s <= now_s - FAR_S for until_s in times)
