from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.window import SLOTS, Window

events = st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60)


@given(events, st.sampled_from([1.0, 10.0, 60.0]))
def test_counts_what_is_younger_than_the_span_to_a_slot(steps: list[tuple[float, bool]], span_s: float) -> None:
    window, now_s = Window(span_s), 1000.0
    seen: list[tuple[float, bool]] = []
    for passed_s, marked in steps:
        now_s += passed_s
        (window.mark if marked else window.count)(now_s)
        seen.append((now_s, marked))
    slot_s = span_s / SLOTS
    now_slot = int(now_s / slot_s)
    young = [marked for at_s, marked in seen if int(at_s / slot_s) > now_slot - SLOTS]
    assert window.marked == sum(young)
    assert window.plain == len(young) - sum(young)


def test_forgets_with_time_alone_and_bears_a_clock_that_steps_back() -> None:
    window = Window(10.0)
    window.count(100.0)
    window.mark(99.0)
    assert (window.plain, window.marked) == (1, 1)
    window.turn(105.0)
    assert (window.plain, window.marked) == (1, 1)
    window.turn(105.0)
    window.turn(500.0)
    assert (window.plain, window.marked) == (0, 0)
    window.mark(500.0)
    window.clear()
    assert window.marked == 0
