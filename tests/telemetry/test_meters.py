from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.telemetry.desk import method_label
from sidecar.telemetry.instruments import DURATION_BOUNDS_S, Meters
from sidecar.telemetry.meters import Distribution, Labels, Reading, Spread


def points(meters: Meters, name: str) -> dict[Labels, Reading]:
    return {
        labels: reading
        for snapshot in meters.collect()
        if snapshot.instrument.name == name
        for labels, reading in snapshot.points
    }


def test_a_child_is_found_again() -> None:
    meters = Meters()
    meters.calls.child("stripe", "-", "ok", "reverse").add()
    meters.calls.child("stripe", "-", "ok", "reverse").add(2)
    meters.calls.child("stripe", "-", "ok", "host").add()
    assert points(meters, "sidecar.calls") == {("stripe", "-", "ok", "reverse"): 3, ("stripe", "-", "ok", "host"): 1}


def test_what_has_no_value_is_not_collected() -> None:
    assert Meters().collect() == []


def test_every_instrument_has_its_own_name_and_as_many_labels_as_it_says() -> None:
    instruments = Meters().instruments
    assert len({instrument.name for instrument in instruments}) == len(instruments)
    assert all(len(set(instrument.attributes)) == len(instrument.attributes) for instrument in instruments)


def test_cardinality_is_capped_and_says_so() -> None:
    meters = Meters(max_children=2)
    for route in ("a", "b", "c", "d", "a"):
        meters.retries.child("stripe", route).add()
    assert points(meters, "sidecar.retries") == {
        ("stripe", "a"): 2,
        ("stripe", "b"): 1,
        ("other", "other"): 2,
    }
    assert points(meters, "sidecar.telemetry.overflows") == {("sidecar.retries",): 2}


def test_the_counter_of_overflows_may_overflow_itself() -> None:
    meters = Meters(max_children=1)
    for family in (meters.retries, meters.limit_waits):
        for route in "abc":
            family.child("stripe", route).add()
    assert sum(value for value in points(meters, "sidecar.telemetry.overflows").values() if isinstance(value, int)) == 4


def test_observed_values_are_capped() -> None:
    meters = Meters(max_children=2)
    meters.breaker_state.watch(lambda: [(("p", str(n)), n) for n in range(5)])
    assert points(meters, "sidecar.breaker.state") == {("p", "0"): 0, ("p", "1"): 1}
    assert points(meters, "sidecar.telemetry.overflows") == {("sidecar.breaker.state",): 1}


def test_one_reader_that_fails_spoils_no_other(caplog: pytest.LogCaptureFixture) -> None:
    meters = Meters()
    meters.policy_age.watch(lambda: [((), 1 / 0)])
    meters.policy_age.watch(lambda: [((), 7.0)])
    with caplog.at_level(logging.ERROR):
        assert points(meters, "sidecar.policy.age") == {(): 7.0}
    assert [record.metric for record in caplog.records] == ["sidecar.policy.age"]  # type: ignore[attr-defined]


@given(st.lists(st.floats(0, 100, allow_nan=False), max_size=50))
def test_a_spread_puts_each_value_below_its_bound(values: list[float]) -> None:
    spread = Spread(DURATION_BOUNDS_S)
    for value in values:
        spread.observe(value)
    for index, bound in enumerate(DURATION_BOUNDS_S):
        assert sum(spread.counts[: index + 1]) == sum(value <= bound for value in values)
    assert sum(spread.counts) == len(values)
    assert spread.total == pytest.approx(sum(values))


def test_a_reading_does_not_change_afterwards() -> None:
    meters = Meters()
    child = meters.call_wait.child("stripe", "-")
    child.observe(1.0)
    before = points(meters, "sidecar.call.wait")["stripe", "-"]
    child.observe(1.0)
    assert isinstance(before, Distribution)
    assert (before.count, before.total) == (1, 1.0)


@pytest.mark.parametrize(("method", "label"), [("GET", "GET"), ("get", "_OTHER"), ("SECRET", "_OTHER")])
def test_methods(method: str, label: str) -> None:
    assert method_label(method) == label
