from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.budget import WINDOW_S, Budget, BudgetSettings

NOW_S = 1000.0


@given(st.integers(0, 2000), st.floats(0, 1), st.floats(0, 5))
def test_grants_the_floor_and_the_ratio_and_no_more(calls: int, ratio: float, floor_per_s: float) -> None:
    budget = Budget(BudgetSettings(ratio, floor_per_s))
    for _ in range(calls):
        budget.deposit(NOW_S)
    granted = 0
    while budget.withdraw(NOW_S):
        granted += 1
    allowed = floor_per_s * WINDOW_S + ratio * calls
    assert allowed - 1 <= granted <= allowed + 1e-6
    assert budget.refused == 1


def test_old_calls_no_longer_pay() -> None:
    budget = Budget(BudgetSettings(ratio=0.5, floor_per_s=0.0))
    for _ in range(4):
        budget.deposit(NOW_S)
    assert budget.withdraw(NOW_S + WINDOW_S - 1)
    assert not budget.withdraw(NOW_S + WINDOW_S + 1)


def test_what_the_sdk_repeats_is_charged_and_may_overdraw() -> None:
    budget = Budget(BudgetSettings(ratio=0.0, floor_per_s=0.1))
    budget.charge(NOW_S)
    budget.charge(NOW_S)
    assert budget.left(NOW_S) == -1
    assert not budget.withdraw(NOW_S)
    assert budget.snapshot(NOW_S) == {"left": 0.0, "calls": 0, "retries": 2, "refused": 1}


def test_new_numbers_keep_the_counts() -> None:
    budget = Budget(BudgetSettings(ratio=0.0, floor_per_s=0.1))
    assert budget.withdraw(NOW_S)
    assert not budget.withdraw(NOW_S)
    budget.configure(BudgetSettings(ratio=0.0, floor_per_s=0.2))
    assert budget.withdraw(NOW_S)
    assert not budget.withdraw(NOW_S)
