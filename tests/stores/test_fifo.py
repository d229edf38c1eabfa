from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.stores.fifo import Fifo, Holding, Slot
from tests.stores.entries import NOW_S, make_entry, make_key


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8))))
def test_it_is_a_list_in_order(steps: list[tuple[bool, int]]) -> None:
    line, slots = Fifo(), [Slot(make_key(size), Holding("stripe"), make_entry(), size, NOW_S) for size in range(9)]
    model: list[Slot] = []
    for add, number in steps:
        slot = slots[number]
        if add and slot not in model:
            line.append(slot)
            model.append(slot)
        elif not add and slot in model:
            line.remove(slot)
            model.remove(slot)
        assert [slot.key for slot in _walk(line)] == [slot.key for slot in model]
        assert line.size_bytes == sum(slot.size_bytes for slot in model)
        assert line.newest is (model[-1] if model else None)
        assert all((slot.line is line) == (slot in model) for slot in slots)


def _walk(line: Fifo) -> list[Slot]:
    found, slot = [], line.oldest
    while slot is not None:
        found.append(slot)
        assert slot.newer is None or slot.newer.older is slot
        slot = slot.newer
    return found
