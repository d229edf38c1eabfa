"""The list of hosts without a policy is bounded, and its order is that of use."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.serving.unknown import MOST_HOSTS, UnknownHosts
from sidecar.telemetry.instruments import Meters
from tests.fakes import FakeClock


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans())))
def test_every_call_is_counted_and_the_last_called_host_comes_first(calls: list[tuple[int, bool]]) -> None:
    clock, meters = FakeClock(), Meters()
    hosts = UnknownHosts(clock, meters.unknown_hosts)
    for host, allowed in calls:
        clock.advance(1)
        hosts.count(f"{host}.example", 443, allowed)

    rows = hosts.as_json()
    assert sum(row["calls"] for row in rows) == len(calls)
    assert [row["last_seen"] for row in rows] == sorted((row["last_seen"] for row in rows), reverse=True)
    assert all(row["first_seen"] <= row["last_seen"] for row in rows)
    counts = {labels[0]: count for labels, count in meters.unknown_hosts.collect().points}
    assert counts["allowed"] + counts["denied"] == len(calls)


def test_the_host_that_was_called_longest_ago_is_forgotten_first() -> None:
    hosts = UnknownHosts(FakeClock(), Meters().unknown_hosts)
    for number in range(MOST_HOSTS + 5):
        hosts.count(f"{number}.example", 443, True)

    rows = hosts.as_json()
    assert len(rows) == MOST_HOSTS
    assert rows[-1]["host"] == "5.example"
