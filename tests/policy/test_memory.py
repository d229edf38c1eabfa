"""What one process leaves to the next: nothing is lost, lengthened or believed that should not be."""

from __future__ import annotations

import json
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Verdict
from sidecar.policy.keep import FORGET_AFTER_S, WHOLE, Keep
from sidecar.policy.memory import STALE_AFTER_S, Memories, NotMemories, decode, encode
from sidecar.rules.breaker import BreakerSettings, CircuitMemory, CircuitState, Permit, Refusal, Transition
from sidecar.rules.limiter import LimiterMemory, LimitSettings
from tests.fakes import FakeClock, make_call

BREAKER = BreakerSettings(consecutive=1, failure_ratio=None, open_base_s=8.0, open_cap_s=60.0)
LIMIT = LimitSettings(rate_per_s=10.0, burst=5, max_wait_s=0.0, learn=True)
NOW_S, WALL_S = 1000.0, 1_800_000_000.0
CAUSE = "3 failures in a row"

times = st.floats(-STALE_AFTER_S, 1e7)
states = st.sampled_from([state for state in CircuitState if state is not CircuitState.CLOSED])
circuit_memories = st.builds(
    CircuitMemory,
    st.builds(Transition, st.floats(0, 4e9), st.sampled_from([*CircuitState]), states, st.text(max_size=30)),
    times.map(lambda left_s: NOW_S + left_s) | st.just(inf),
    st.integers(0, 100),
)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
keys = st.tuples(names, names)
every = st.builds(
    Memories,
    st.dictionaries(keys, st.dictionaries(st.sampled_from(["", "0123456789ab"]), circuit_memories, min_size=1)),
    st.dictionaries(keys, st.builds(LimiterMemory, times.map(lambda left_s: NOW_S + left_s), st.floats(0.02, 1.0))),
)


def make_keep(clock: FakeClock, secret: bytes = b"s") -> Keep:
    return Keep(clock, lambda: 0.0, (), lambda: secret * 32)


def restarted(keep: Keep, before: FakeClock, down_s: float = 0.0, skew_s: float = 0.0) -> tuple[Keep, FakeClock]:
    """The next process: another monotonic scale, and a wall clock that may have been set meanwhile."""
    after = FakeClock(7.0, before.wall() + down_s + skew_s)
    successor = make_keep(after)
    successor.recall(decode(encode(keep.memories(), before.now(), before.wall()), after.now(), after.wall()))
    return successor, after


def tripped(clock: FakeClock) -> Keep:
    keep = make_keep(clock)
    trip(keep, clock)
    return keep


def trip(keep: Keep, clock: FakeClock) -> None:
    circuit = keep.circuit("stripe", "charge", BREAKER)
    permit = circuit.admit(clock.now())
    assert isinstance(permit, Permit)
    circuit.settle(permit, Verdict.TRANSIENT, clock.now())


def left_s(keep: Keep, clock: FakeClock) -> float | None:
    """How long calls are refused yet; None for as long as nobody says otherwise, 0 when one would be let through."""
    answer = keep.circuit("stripe", "charge", BREAKER).admit(clock.now())
    return answer.wait_s if isinstance(answer, Refusal) else 0.0


def approx(memories: Memories, down_s: float) -> object:
    return [
        {
            key: {
                name: (one.last, pytest.approx(one.until_s - NOW_S - down_s), one.failed_trials)
                for name, one in circuits.items()
            }
            for key, circuits in memories.circuits.items()
        },
        {
            key: (pytest.approx(one.hold_until_s - NOW_S - down_s), one.rate_ratio)
            for key, one in memories.limiters.items()
        },
    ]


@given(every)
def test_what_is_written_is_read(memories: Memories) -> None:
    read = decode(encode(memories, NOW_S, WALL_S), NOW_S, WALL_S)

    assert approx(read, 0.0) == approx(memories, 0.0)


@given(every, st.floats(0, 1e6), st.floats(-1e9, 1e9))
def test_nothing_lasts_longer_than_when_it_was_written_whatever_the_clock_does(
    memories: Memories, down_s: float, skew_s: float
) -> None:
    read = decode(encode(memories, NOW_S, WALL_S), 7.0, WALL_S + down_s + skew_s)

    for key, circuits in read.circuits.items():
        for credential, memory in circuits.items():
            until_s = memories.circuits[key][credential].until_s
            assert -STALE_AFTER_S <= memory.until_s - 7.0 <= until_s - NOW_S + 1e-6
    for key, lesson in read.limiters.items():
        assert -STALE_AFTER_S <= lesson.hold_until_s - 7.0 <= memories.limiters[key].hold_until_s - NOW_S + 1e-6


@given(st.integers(0, 6), st.floats(0, 100), st.floats(0, 100))
def test_a_restart_makes_no_difference_but_for_the_time_that_it_takes(
    trials: int, before_s: float, down_s: float
) -> None:
    clock = FakeClock()
    keep = tripped(clock)
    for _ in range(trials):
        clock.advance(60)
        trip(keep, clock)
    clock.advance(before_s)
    successor, after = restarted(keep, clock, down_s)
    clock.advance(down_s)

    assert left_s(successor, after) == pytest.approx(left_s(keep, clock) or 0.0, abs=1e-5)
    old, new = keep.circuit("stripe", "charge", BREAKER), successor.circuit("stripe", "charge", BREAKER)
    # And the next trial that fails costs as much.
    for one, its_clock in ((keep, clock), (successor, after)):
        its_clock.advance(60)
        trip(one, its_clock)
    assert old.snapshot(clock.now())["left_s"] == pytest.approx(new.snapshot(after.now())["left_s"], abs=1e-3)
    assert old.snapshot(clock.now())["failed_trials"] == new.snapshot(after.now())["failed_trials"]


def test_a_restored_breaker_says_since_when_and_why_and_is_no_news() -> None:
    clock = FakeClock()
    successor, after = restarted(tripped(clock), clock, down_s=2.0)

    shown = successor.circuit("stripe", "charge", BREAKER).snapshot(after.now())

    assert (shown["state"], shown["since"], shown["left_s"]) == ("open", WALL_S, 6.0)
    assert shown["history"] == [{"at": WALL_S, "from": "closed", "to": "open", "cause": "1 failures in a row"}]


def test_what_recovers_is_forgotten() -> None:
    clock = FakeClock()
    keep = tripped(clock)
    assert len(keep.memories()) == 1
    clock.advance(8)
    permit = keep.circuit("stripe", "charge", BREAKER).admit(clock.now())
    assert isinstance(permit, Permit)
    keep.circuit("stripe", "charge", BREAKER).settle(permit, Verdict.OK, clock.now())

    assert len(keep.memories()) == 0


@pytest.mark.parametrize("state", [CircuitState.FORCED_OPEN, CircuitState.FORCED_CLOSED])
@pytest.mark.parametrize("for_s", [None, 30.0])
def test_what_was_forced_stays_so_for_as_long_as_was_said(state: CircuitState, for_s: float | None) -> None:
    clock = FakeClock()
    keep = make_keep(clock)
    keep.circuit("stripe", "charge", BREAKER).force(state, None if for_s is None else clock.now() + for_s)
    successor, after = restarted(keep, clock, down_s=10.0)

    circuit = successor.circuit("stripe", "charge", BREAKER)
    assert circuit.state is state
    left = circuit.snapshot(after.now())["left_s"]
    assert left == (None if for_s is None else 20.0)


def test_a_half_open_breaker_begins_its_trials_anew() -> None:
    clock = FakeClock()
    keep = tripped(clock)
    clock.advance(8)
    assert isinstance(keep.circuit("stripe", "charge", BREAKER).admit(clock.now()), Permit)
    assert left_s(keep, clock) != 0.0, "the one trial is under way"
    successor, after = restarted(keep, clock)

    assert successor.circuit("stripe", "charge", BREAKER).state is CircuitState.HALF_OPEN
    assert left_s(successor, after) == 0.0


def test_what_was_over_long_ago_starts_closed() -> None:
    clock = FakeClock()
    successor, _ = restarted(tripped(clock), clock, down_s=8 + STALE_AFTER_S + 1)

    assert successor.circuit("stripe", "charge", BREAKER).state is CircuitState.CLOSED


def test_each_credential_finds_its_own_again() -> None:
    clock = FakeClock()
    keep = make_keep(clock)
    mine, other = (make_call(headers={"Authorization": f"Bearer sk_live_{name}"}) for name in ("mine", "other"))
    circuits = keep.credential_circuits("stripe", WHOLE, BREAKER)
    permit = circuits.of(mine).admit(clock.now())
    assert isinstance(permit, Permit)
    circuits.of(mine).settle(permit, Verdict.TRANSIENT, clock.now())
    written = encode(keep.memories(), clock.now(), clock.wall())
    successor, _ = restarted(keep, clock)

    again = successor.credential_circuits("stripe", WHOLE, BREAKER)
    assert (again.of(mine).state, again.of(other).state) == (CircuitState.OPEN, CircuitState.CLOSED)
    assert b"sk_live" not in written


def test_what_nobody_has_asked_for_yet_is_left_to_the_process_after() -> None:
    clock = FakeClock()
    successor, after = restarted(tripped(clock), clock)
    third, last = restarted(successor, after, down_s=2.0)

    assert left_s(third, last) == pytest.approx(6.0)


def test_what_no_policy_names_any_more_is_dropped() -> None:
    clock = FakeClock()
    keep = tripped(clock)
    keep.limiter("stripe", WHOLE, LIMIT).throttled(clock.now(), clock.now(), 3600.0)
    keep.circuit("sendgrid", "mail", BREAKER).force(CircuitState.FORCED_OPEN)
    successor, after = restarted(keep, clock)
    assert len(successor.memories()) == 3
    successor.retain({"sendgrid": {"mail"}})
    after.advance(FORGET_AFTER_S)

    assert list(successor.memories().circuits) == [("sendgrid", "mail")]
    assert successor.memories().limiters == {}


@given(st.floats(0, 3600), st.floats(0, 4000))
def test_who_was_told_to_wait_still_waits(wait_s: float, down_s: float) -> None:
    clock = FakeClock()
    keep = make_keep(clock)
    keep.limiter("stripe", WHOLE, LIMIT).throttled(clock.now(), clock.now(), wait_s)
    successor, after = restarted(keep, clock, down_s)
    clock.advance(down_s)

    old, new = (one.limiter("stripe", WHOLE, LIMIT) for one in (keep, successor))
    for limiter, its_clock in ((old, clock), (new, after)):
        assert limiter.reserve(its_clock.now(), 0.0) == pytest.approx(max(0.0, wait_s - down_s), abs=0.2)
    assert old.bucket is not None
    assert new.bucket is not None
    assert new.bucket.rate_per_s == pytest.approx(old.bucket.rate_per_s, rel=1e-3)


def test_a_hold_without_a_rate_is_kept_too() -> None:
    clock = FakeClock()
    keep = make_keep(clock)
    unlimited = LimitSettings(concurrency=5, learn=True)
    keep.limiter("stripe", WHOLE, unlimited).throttled(clock.now(), clock.now(), 600.0)
    successor, after = restarted(keep, clock, down_s=60.0)

    assert successor.limiter("stripe", WHOLE, unlimited).reserve(after.now(), 0.0) == pytest.approx(540.0)


def test_a_change_is_told_and_nothing_else() -> None:
    clock = FakeClock()
    keep = make_keep(clock)
    told: list[None] = []
    keep.changed = lambda: told.append(None)
    circuit = keep.circuit("stripe", "charge", BREAKER)
    late = circuit.admit(clock.now())
    trip(keep, clock)
    assert len(told) == 1
    assert isinstance(late, Permit)
    circuit.settle(late, Verdict.EXHAUSTED, clock.now(), 100.0)
    assert len(told) == 2, "it stays open for longer"
    left_s(keep, clock)
    keep.limiter("stripe", WHOLE, LIMIT).reserve(clock.now(), 0.0)
    assert len(told) == 2


# Files that are not fit.


def tampered(**changes: object) -> bytes:
    document = json.loads(encode(make_memories(), NOW_S, WALL_S))
    return json.dumps({**document, **changes}).encode()


def make_memories() -> Memories:
    memory = CircuitMemory(Transition(WALL_S, "closed", "open", CAUSE), NOW_S + 5, 1)
    return Memories({("stripe", "charge"): {"": memory}})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "corrupt"),
        (b"\xff" * 100, "corrupt"),
        (encode(make_memories(), NOW_S, WALL_S)[:-20], "corrupt"),
        (encode(make_memories(), NOW_S, WALL_S).replace(b'"stripe"', b'"sendgrid"'), "corrupt"),
        (b"[" * 100_000, "corrupt"),
        (b"[]", "foreign"),
        (b'{"name": "package"}', "foreign"),
        (tampered(version=0), "older"),
        (tampered(version=2), "newer"),
        (tampered(memory=None), "corrupt"),
        (tampered(sha256=None), "corrupt"),
    ],
)
def test_a_file_that_is_not_fit_is_told_by_one_word(data: bytes, reason: str) -> None:
    with pytest.raises(NotMemories, match=f"^{reason}$"):
        decode(data, NOW_S, WALL_S)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(NotMemories):
        decode(data, NOW_S, WALL_S)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_rows_of_any_shape_are_read_or_refused(value: object) -> None:
    """With a checksum that is right: written by somebody who knows how."""
    from sidecar.policy.memory import _digest

    row = {"provider": "a", "scope": "b", "credential": "", "state": "open", "before": "closed", "cause": "c"}
    row = {**row, "at_wall_s": 1.0, "left_s": 2.0, "failed_trials": 3}  # type: ignore[dict-item]
    for name in row:
        content = {"wall_s": WALL_S, "breakers": [{**row, name: value}], "limits": []}
        data = json.dumps({"version": 1, "memory": content, "sha256": _digest(json.loads(_plain(content)))})
        try:
            memories = decode(data.encode(), NOW_S, WALL_S)
        except NotMemories:
            continue
        for circuits in memories.circuits.values():
            for memory in circuits.values():
                assert memory.last.after != "closed"
                assert memory.failed_trials >= 0


def _plain(content: object) -> str:
    return json.dumps(content).replace("NaN", "null").replace("-Infinity", "null").replace("Infinity", "null")
