import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.rules.concurrency import Concurrency, Place


def ignore() -> None:
    return None


def test_slots_and_a_fair_queue() -> None:
    slots, woken = Concurrency(1), []
    assert slots.try_enter()
    assert not slots.try_enter()
    first = slots.join(lambda: woken.append(1))
    second = slots.join(lambda: woken.append(2))
    assert slots.waiting == 2
    slots.exit()
    assert woken == [1]
    assert (first.granted, second.granted, slots.in_use) == (True, False, 1)
    slots.leave(first)
    assert woken == [1, 2]
    slots.exit()
    assert slots.in_use == 0


def test_leaving_the_queue_costs_nothing() -> None:
    slots = Concurrency(1)
    slots.try_enter()
    slots.leave(slots.join(ignore))
    assert slots.waiting == 0
    slots.exit()
    assert slots.in_use == 0


def test_a_new_limit_takes_effect() -> None:
    slots = Concurrency(1)
    slots.try_enter()
    place = slots.join(ignore)
    slots.configure(2)
    assert place.granted
    slots.configure(1)
    slots.exit()
    assert not slots.try_enter()


def test_overfilling_is_counted() -> None:
    slots = Concurrency(1)
    slots.try_enter()
    slots.overfill()
    assert slots.in_use == 2
    slots.exit()
    assert not slots.try_enter()


class Slots(RuleBasedStateMachine):
    """Slots are never lost, never given twice, and go to those who have waited longest."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Concurrency(2)
        self.held = 0
        self.queue: list[Place] = []

    def settle_queue(self) -> None:
        granted = [place for place in self.queue if place.granted]
        assert granted == self.queue[: len(granted)], "first come, first served"
        self.held += len(granted)
        self.queue = self.queue[len(granted) :]

    @rule()
    def arrive(self) -> None:
        if self.slots.try_enter():
            assert not self.queue
            self.held += 1
        else:
            self.queue.append(self.slots.join(ignore))

    @precondition(lambda self: self.held)
    @rule()
    def finish(self) -> None:
        self.held -= 1
        self.slots.exit()
        self.settle_queue()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        self.slots.leave(self.queue.pop(data.draw(st.integers(0, len(self.queue) - 1))))
        self.settle_queue()

    @rule(limit=st.integers(1, 4))
    def configure(self, limit: int) -> None:
        self.slots.configure(limit)
        self.settle_queue()

    @invariant()
    def counts_are_true(self) -> None:
        assert self.slots.in_use == self.held
        assert self.slots.waiting == len(self.queue)
        assert not self.queue or self.held >= self.slots.limit


TestSlots = Slots.TestCase


@pytest.mark.parametrize("limit", [1, 3])
def test_never_more_than_the_limit_without_overfilling(limit: int) -> None:
    slots = Concurrency(limit)
    assert sum(slots.try_enter() for _ in range(10)) == limit
