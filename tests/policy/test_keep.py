from sidecar.errors import Verdict
from sidecar.policy.keep import FORGET_AFTER_S, MOST_CREDENTIALS, UNMATCHED, WHOLE, Keep
from sidecar.rules.breaker import BreakerSettings, Circuit, CircuitState, Permit
from sidecar.rules.budget import BudgetSettings
from sidecar.rules.limiter import LimitSettings
from tests.fakes import FakeClock, make_call

BREAKER = BreakerSettings(consecutive=1)
ROUTES = {"stripe": {"charge"}}


def make_keep(clock: FakeClock | None = None) -> Keep:
    return Keep(clock or FakeClock(), lambda: 0.0)


def trip(circuit: Circuit) -> None:
    permit = circuit.admit(1000.0)
    assert isinstance(permit, Permit)
    circuit.settle(permit, Verdict.TRANSIENT, 1000.0)


def test_state_is_found_again_and_takes_new_numbers() -> None:
    keep = make_keep()
    circuit = keep.circuit("stripe", "charge", BREAKER)
    trip(circuit)
    again = keep.circuit("stripe", "charge", BreakerSettings(consecutive=9))
    assert again is circuit
    assert again.state is CircuitState.OPEN
    assert again.settings.consecutive == 9
    limiter = keep.limiter("stripe", WHOLE, LimitSettings(rate_per_s=1.0))
    assert keep.limiter("stripe", WHOLE, LimitSettings(rate_per_s=2.0)) is limiter
    budget = keep.budget("stripe", WHOLE, BudgetSettings(0.1))
    assert keep.budget("stripe", WHOLE, BudgetSettings(0.2)) is budget
    assert budget.settings.ratio == 0.2


def test_scopes_and_providers_are_apart() -> None:
    keep = make_keep()
    circuits = {id(keep.circuit(provider, scope, BREAKER)) for provider in ("a", "b") for scope in ("x", WHOLE)}
    assert len(circuits) == 4


def test_each_credential_has_a_circuit_whose_name_shows_nothing() -> None:
    keep = make_keep()
    circuits = keep.credential_circuits("stripe", WHOLE, BREAKER)
    mine = make_call(headers={"Authorization": "Bearer sk_live_mine"})
    other = make_call(headers={"Authorization": "Bearer sk_live_other"})
    trip(circuits.of(mine))
    assert circuits.of(other).state is CircuitState.CLOSED
    assert circuits.of(mine).state is CircuitState.OPEN
    assert keep.credential_circuits("stripe", WHOLE, BreakerSettings(trials=3)) is circuits
    assert circuits.of(mine).settings.trials == 3
    shown = {scope: circuit for _, scope, circuit in keep.circuits()}
    assert len(shown) == 2
    for scope, circuit in shown.items():
        assert "sk_live" not in scope
        assert keep.find_circuit("stripe", scope) is circuit


def test_credentials_are_bounded_and_the_longest_unused_goes_first() -> None:
    circuits = make_keep().credential_circuits("stripe", WHOLE, BREAKER)
    calls = [make_call(headers={"X-Api-Key": str(number)}) for number in range(MOST_CREDENTIALS + 1)]
    first, second = circuits.of(calls[0]), circuits.of(calls[1])
    for call in calls[2:MOST_CREDENTIALS]:
        circuits.of(call)
    assert circuits.of(calls[0]) is first
    circuits.of(calls[MOST_CREDENTIALS])
    assert len(circuits.circuits) == MOST_CREDENTIALS
    assert circuits.of(calls[0]) is first
    assert circuits.of(calls[1]) is not second


def test_everything_is_listed_with_its_scope() -> None:
    keep = make_keep()
    circuit = keep.circuit("stripe", "charge", BREAKER)
    limiter = keep.limiter("stripe", WHOLE, LimitSettings(rate_per_s=1.0))
    budget = keep.budget("stripe", WHOLE, BudgetSettings())
    assert list(keep.circuits()) == [("stripe", "charge", circuit)]
    assert list(keep.limiters()) == [("stripe", WHOLE, limiter)]
    assert list(keep.budgets()) == [("stripe", WHOLE, budget)]
    assert keep.find_circuit("stripe", "charge") is circuit
    assert keep.find_circuit("stripe", "refund") is None
    assert keep.find_circuit("stripe", "*:0123") is None


def test_what_is_gone_is_kept_for_ten_minutes() -> None:
    clock = FakeClock()
    keep = make_keep(clock)
    charge = keep.circuit("stripe", "charge", BREAKER)
    keep.limiter("hubspot", WHOLE, LimitSettings(rate_per_s=1.0))
    keep.retain({})
    clock.advance(FORGET_AFTER_S / 2)
    keep.retain(ROUTES)
    clock.advance(FORGET_AFTER_S / 2)
    assert list(keep.limiters()) == [], "gone for ten minutes"
    assert keep.circuit("stripe", "charge", BREAKER) is charge, "it came back in time"


def test_what_is_gone_again_starts_its_time_again() -> None:
    clock = FakeClock()
    keep = make_keep(clock)
    keep.circuit("stripe", "charge", BREAKER)
    keep.retain({})
    clock.advance(FORGET_AFTER_S - 1)
    keep.retain(ROUTES)
    keep.retain({})
    clock.advance(FORGET_AFTER_S - 1)
    assert keep.find_circuit("stripe", "charge") is not None
    clock.advance(1)
    assert keep.find_circuit("stripe", "charge") is None


def test_a_removed_route_is_forgotten_but_not_what_all_routes_share() -> None:
    clock = FakeClock()
    keep = make_keep(clock)
    for scope in ("charge", "refund", WHOLE, UNMATCHED):
        keep.circuit("stripe", scope, BREAKER)
    keep.retain(ROUTES)
    clock.advance(FORGET_AFTER_S)
    assert {scope for _, scope, _ in keep.circuits()} == {"charge", WHOLE, UNMATCHED}
