import pybreaker
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.errors import Verdict
from sidecar.rules.breaker import HISTORY, BreakerSettings, Circuit, CircuitState, Permit, Refusal

NOW_S = 1000.0
FEW = BreakerSettings(consecutive=3, failure_ratio=None, open_base_s=1.0, open_cap_s=8.0, trials=1, lease_s=5.0)
SHARE = BreakerSettings(consecutive=None, failure_ratio=0.5, window_s=10.0, min_calls=4)
GOOD = (Verdict.OK, Verdict.REJECTED, Verdict.CREDENTIAL, Verdict.THROTTLED, Verdict.EXHAUSTED)
UNCOUNTED = (None, Verdict.LOCAL)


def make_circuit(settings: BreakerSettings = FEW, draw: float = 0.0) -> Circuit:
    return Circuit(settings, draw=lambda: draw, wall=lambda: 1.8e9)


def admit(circuit: Circuit, now_s: float = NOW_S) -> Permit:
    permit = circuit.admit(now_s)
    assert isinstance(permit, Permit), f"refused while {circuit.state}"
    return permit


def refused_s(circuit: Circuit, now_s: float = NOW_S) -> float | None:
    refusal = circuit.admit(now_s)
    assert isinstance(refusal, Refusal), f"admitted while {circuit.state}"
    return refusal.wait_s


def put(circuit: Circuit, *verdicts: Verdict | None, now_s: float = NOW_S, wait_s: float | None = None) -> None:
    for verdict in verdicts:
        circuit.settle(admit(circuit, now_s), verdict, now_s, wait_s)


def tripped(settings: BreakerSettings = FEW, draw: float = 0.0) -> Circuit:
    circuit = make_circuit(settings, draw)
    put(circuit, *[Verdict.TRANSIENT] * 3)
    assert circuit.state is CircuitState.OPEN
    return circuit


def test_failures_in_a_row_trip_it() -> None:
    circuit = make_circuit()
    put(circuit, Verdict.TRANSIENT, Verdict.UNREACHABLE, Verdict.OK, Verdict.TRANSIENT, Verdict.TRANSIENT)
    assert circuit.state is CircuitState.CLOSED
    put(circuit, Verdict.UNREACHABLE)
    assert circuit.state is CircuitState.OPEN
    assert refused_s(circuit, NOW_S + 0.25) == 0.75
    assert circuit.history[-1].cause == "3 failures in a row"


@pytest.mark.parametrize("verdict", GOOD)
def test_what_the_provider_answers_is_no_failure(verdict: Verdict) -> None:
    circuit = make_circuit()
    put(circuit, Verdict.TRANSIENT, Verdict.TRANSIENT, verdict, Verdict.TRANSIENT, Verdict.TRANSIENT)
    assert circuit.state is CircuitState.CLOSED


@pytest.mark.parametrize("verdict", UNCOUNTED)
def test_cancellation_and_our_own_faults_count_as_nothing(verdict: Verdict | None) -> None:
    circuit = make_circuit()
    put(circuit, Verdict.TRANSIENT, Verdict.TRANSIENT, *[verdict] * 50)
    assert circuit.state is CircuitState.CLOSED
    put(circuit, Verdict.TRANSIENT)
    assert circuit.state is CircuitState.OPEN


def test_a_larger_share_of_failures_than_allowed_trips_it() -> None:
    circuit = make_circuit(SHARE)
    put(circuit, Verdict.OK, Verdict.OK, Verdict.TRANSIENT, Verdict.TRANSIENT)
    assert circuit.state is CircuitState.CLOSED, "exactly half is not over half"
    put(circuit, Verdict.TRANSIENT)
    assert circuit.state is CircuitState.OPEN
    assert circuit.history[-1].cause == "3 of 5 calls failed within 10 s"


def test_few_calls_are_no_share() -> None:
    circuit = make_circuit(SHARE)
    put(circuit, *[Verdict.TRANSIENT] * 3)
    assert circuit.state is CircuitState.CLOSED


def test_old_failures_do_not_count() -> None:
    circuit = make_circuit(SHARE)
    put(circuit, *[Verdict.TRANSIENT] * 3)
    put(circuit, Verdict.TRANSIENT, now_s=NOW_S + 11)
    assert circuit.state is CircuitState.CLOSED


def test_a_trial_closes_it() -> None:
    circuit = tripped()
    trial = admit(circuit, NOW_S + 1)
    assert trial.is_trial
    assert circuit.state is CircuitState.HALF_OPEN
    assert refused_s(circuit, NOW_S + 1) == 1.0
    circuit.settle(trial, Verdict.OK, NOW_S + 2)
    assert circuit.state is CircuitState.CLOSED
    assert not admit(circuit, NOW_S + 2).is_trial


def test_the_open_time_doubles_with_each_failed_trial_and_starts_afresh() -> None:
    circuit, now_s = tripped(), NOW_S
    for open_s in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert refused_s(circuit, now_s) == open_s
        now_s += open_s
        put(circuit, Verdict.TRANSIENT, now_s=now_s)
    now_s += 8
    put(circuit, Verdict.OK, *[Verdict.TRANSIENT] * 3, now_s=now_s)
    assert refused_s(circuit, now_s) == 1.0


def test_jitter_shortens_the_open_time() -> None:
    assert refused_s(tripped(draw=0.5)) == pytest.approx(0.9)


def test_the_providers_hint_prolongs_it() -> None:
    circuit = make_circuit()
    late = admit(circuit)
    put(circuit, *[Verdict.TRANSIENT] * 3, wait_s=20.0)
    assert refused_s(circuit) == 20.0
    circuit.settle(late, Verdict.THROTTLED, NOW_S, 30.0)
    assert refused_s(circuit) == 30.0
    circuit.settle(late, Verdict.LOCAL, NOW_S, 90.0)
    circuit.settle(late, Verdict.OK, NOW_S)
    assert refused_s(circuit) == 30.0


def test_a_throttled_trial_holds_it_open_without_doubling() -> None:
    circuit = tripped()
    put(circuit, Verdict.THROTTLED, now_s=NOW_S + 1, wait_s=4.0)
    assert refused_s(circuit, NOW_S + 1) == 4.0
    put(circuit, Verdict.TRANSIENT, now_s=NOW_S + 5)
    assert refused_s(circuit, NOW_S + 5) == 2.0
    put(circuit, Verdict.THROTTLED, now_s=NOW_S + 7)
    assert circuit.state is CircuitState.CLOSED


@pytest.mark.parametrize("verdict", UNCOUNTED)
def test_a_cancelled_trial_gives_its_place_back(verdict: Verdict | None) -> None:
    circuit = tripped()
    put(circuit, verdict, now_s=NOW_S + 1)
    assert circuit.state is CircuitState.HALF_OPEN
    assert admit(circuit, NOW_S + 1).is_trial


def test_a_lost_trial_does_not_wedge_it() -> None:
    circuit = tripped()
    lost = admit(circuit, NOW_S + 1)
    assert refused_s(circuit, NOW_S + 5.5) == 0.5
    second = admit(circuit, NOW_S + 6)
    circuit.settle(lost, None, NOW_S + 6)
    assert refused_s(circuit, NOW_S + 6) == 1.0, "the second trial still holds the only place"
    circuit.settle(second, Verdict.OK, NOW_S + 6)
    assert circuit.state is CircuitState.CLOSED


def test_a_trial_that_outlives_its_lease_is_still_heard() -> None:
    circuit = tripped()
    slow = admit(circuit, NOW_S + 1)
    admit(circuit, NOW_S + 6)
    circuit.settle(slow, Verdict.OK, NOW_S + 7)
    assert circuit.state is CircuitState.CLOSED


def test_all_trials_must_succeed() -> None:
    circuit = tripped(BreakerSettings(consecutive=3, trials=2))
    first, second = admit(circuit, NOW_S + 1), admit(circuit, NOW_S + 1)
    refused_s(circuit, NOW_S + 1)
    circuit.settle(first, Verdict.OK, NOW_S + 1)
    assert circuit.state is CircuitState.HALF_OPEN
    circuit.settle(second, Verdict.REJECTED, NOW_S + 1)
    assert circuit.state is CircuitState.CLOSED


def test_results_from_before_it_opened_change_nothing() -> None:
    circuit = make_circuit()
    early = admit(circuit)
    put(circuit, *[Verdict.TRANSIENT] * 3)
    circuit.settle(early, Verdict.OK, NOW_S)
    assert circuit.state is CircuitState.OPEN
    trial = admit(circuit, NOW_S + 1)
    circuit.settle(early, Verdict.OK, NOW_S + 1)
    circuit.settle(early, Verdict.TRANSIENT, NOW_S + 1, 50.0)
    assert circuit.state is CircuitState.HALF_OPEN
    circuit.settle(trial, Verdict.OK, NOW_S + 1)
    for _ in range(5):
        circuit.settle(early, Verdict.TRANSIENT, NOW_S + 1)
    assert circuit.state is CircuitState.CLOSED


def test_a_trial_whose_body_breaks_counts_in_the_period_it_began() -> None:
    circuit = tripped()
    trial = admit(circuit, NOW_S + 1)
    circuit.settle(trial, Verdict.OK, NOW_S + 1)
    circuit.settle(trial, Verdict.TRANSIENT, NOW_S + 2)
    put(circuit, Verdict.TRANSIENT, Verdict.TRANSIENT, now_s=NOW_S + 2)
    assert circuit.state is CircuitState.OPEN


def test_forced_open_refuses_until_it_is_let_go() -> None:
    circuit = make_circuit()
    circuit.force(CircuitState.FORCED_OPEN)
    assert refused_s(circuit, NOW_S + 1e6) is None
    circuit.force(None)
    assert circuit.state is CircuitState.HALF_OPEN
    put(circuit, Verdict.OK)
    assert circuit.state is CircuitState.CLOSED


def test_forced_open_for_a_time() -> None:
    circuit = make_circuit()
    circuit.force(CircuitState.FORCED_OPEN, NOW_S + 10)
    assert refused_s(circuit) == 10.0
    assert admit(circuit, NOW_S + 10).is_trial


def test_forced_closed_lets_everything_through() -> None:
    circuit = tripped()
    circuit.force(CircuitState.FORCED_CLOSED, NOW_S + 10)
    put(circuit, *[Verdict.TRANSIENT] * 20, now_s=NOW_S + 1)
    assert circuit.state is CircuitState.FORCED_CLOSED
    put(circuit, Verdict.TRANSIENT, Verdict.TRANSIENT, now_s=NOW_S + 10)
    assert circuit.state is CircuitState.CLOSED
    put(circuit, Verdict.TRANSIENT, now_s=NOW_S + 10)
    assert circuit.state is CircuitState.OPEN


def test_letting_go_what_nobody_holds_does_nothing() -> None:
    circuit = tripped()
    circuit.force(None)
    assert circuit.state is CircuitState.OPEN


def test_new_numbers_keep_state_and_counts() -> None:
    circuit = make_circuit()
    put(circuit, Verdict.TRANSIENT, Verdict.TRANSIENT)
    circuit.configure(BreakerSettings(consecutive=3, window_s=60.0, failure_ratio=None))
    put(circuit, Verdict.TRANSIENT)
    assert circuit.state is CircuitState.OPEN
    circuit.configure(FEW)
    assert circuit.state is CircuitState.OPEN


def test_history_is_bounded_and_says_why() -> None:
    circuit, now_s = tripped(), NOW_S
    for _ in range(HISTORY):
        now_s += 10
        put(circuit, Verdict.TRANSIENT, now_s=now_s)
    assert len(circuit.history) == HISTORY
    last = circuit.history[-1]
    assert (last.at_wall_s, last.before, last.after, last.cause) == (1.8e9, "half-open", "open", "a trial failed")


def test_snapshot() -> None:
    circuit = tripped()
    refused_s(circuit)
    assert circuit.snapshot(NOW_S + 0.5) == {
        "state": "open",
        "since": 1.8e9,
        "left_s": 0.5,
        "consecutive_failures": 3,
        "window_s": 10.0,
        "calls": 3,
        "failures": 3,
        "failed_trials": 0,
        "trials_under_way": 0,
        "refused": 1,
        "history": [{"at": 1.8e9, "from": "closed", "to": "open", "cause": "3 failures in a row"}],
    }
    admit(circuit, NOW_S + 1)
    assert circuit.snapshot(NOW_S + 1)["trials_under_way"] == 1
    assert circuit.snapshot(NOW_S + 7)["trials_under_way"] == 0
    circuit.force(CircuitState.FORCED_OPEN)
    assert circuit.snapshot(NOW_S)["left_s"] is None


def test_pybreaker_carries_the_state_and_tells_listeners() -> None:
    heard: list[tuple[str | None, str, str]] = []

    class Ear(pybreaker.CircuitBreakerListener):  # type: ignore[misc]
        def state_change(self, cb, old_state, new_state) -> None:  # type: ignore[no-untyped-def]
            heard.append((cb.name, old_state.name, new_state.name))

    circuit = Circuit(FEW, draw=lambda: 0.0, wall=lambda: 0.0, name="stripe/-", listeners=[Ear()])
    put(circuit, *[Verdict.TRANSIENT] * 3)
    put(circuit, Verdict.OK, now_s=NOW_S + 1)
    assert heard == [
        ("stripe/-", "closed", "open"),
        ("stripe/-", "open", "half-open"),
        ("stripe/-", "half-open", "closed"),
    ]


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens in whatever order: no more than `trials` at once when half-open, no trip without failures."""

    def __init__(self) -> None:
        super().__init__()
        self.trials = 2
        self.now_s = NOW_S
        self.circuit = Circuit(
            BreakerSettings(consecutive=3, min_calls=5, window_s=10.0, trials=self.trials, lease_s=5.0),
            draw=lambda: 0.3,
            wall=lambda: 0.0,
        )
        self.under_way: list[Permit] = []
        self.lost: list[Permit] = []
        self.failures = 0

    @rule(calls=st.integers(1, 6))
    def arrive(self, calls: int) -> None:
        for _ in range(calls):
            before = self.circuit.state
            permit = self.circuit.admit(self.now_s)
            if isinstance(permit, Refusal):
                assert before is not CircuitState.CLOSED
                assert permit.wait_s is not None
                assert permit.wait_s > 0
            else:
                self.under_way.append(permit)

    @precondition(lambda self: self.under_way)
    @rule(
        data=st.data(),
        verdict=st.sampled_from([*Verdict, None, Verdict.TRANSIENT]),
        wait_s=st.sampled_from([None, 3.0]),
    )
    def finish(self, data: st.DataObject, verdict: Verdict | None, wait_s: float | None) -> None:
        permit = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        before = self.circuit.state
        self.failures += verdict in (Verdict.TRANSIENT, Verdict.UNREACHABLE)
        self.circuit.settle(permit, verdict, self.now_s, wait_s)
        if before is CircuitState.CLOSED and self.circuit.state is not CircuitState.CLOSED:
            assert verdict in (Verdict.TRANSIENT, Verdict.UNREACHABLE)
            assert self.failures >= 3
        if verdict is None:
            assert self.circuit.state is before

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.lost.append(self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1))))

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 5.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def recovers_in_the_end(self) -> None:
        """However many trials were lost: after the leases and the open time, somebody is let in."""
        if self.circuit.state is not CircuitState.CLOSED:
            self.now_s += 70.0
            assert isinstance(self.circuit.admit(self.now_s), Permit)

    @invariant()
    def no_more_trials_than_allowed(self) -> None:
        if self.circuit.state is CircuitState.HALF_OPEN:
            living = [permit for permit in self.under_way if permit.is_trial and permit.lease_until_s > self.now_s]
            period = max((permit.period for permit in living), default=0)
            assert sum(permit.period == period for permit in living) <= self.trials


AnyHistory.TestCase.settings = hypothesis_settings(max_examples=200, stateful_step_count=60, deadline=None)
TestAnyHistory = AnyHistory.TestCase
