import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.backoff import BackoffSettings, Jitter, backoff_s, doubled_s

draws = st.floats(0, 1, exclude_max=True)
settings = st.builds(
    BackoffSettings,
    base_s=st.floats(0.001, 10),
    cap_s=st.floats(10, 100),
    jitter=st.sampled_from(list(Jitter)),
)
PLAIN = BackoffSettings(base_s=0.2, cap_s=10.0, jitter=Jitter.NONE)


def test_doubles_up_to_the_cap() -> None:
    assert [backoff_s(PLAIN, retry, 0.0) for retry in range(1, 9)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


@given(settings, st.integers(1, 10_000), draws)
def test_stays_between_nothing_and_the_cap(backoff: BackoffSettings, retry: int, draw: float) -> None:
    delay_s = backoff_s(backoff, retry, draw)
    assert 0 <= delay_s <= backoff.cap_s
    if backoff.jitter is Jitter.EQUAL:
        assert delay_s >= doubled_s(backoff.base_s, retry - 1, backoff.cap_s) / 2


@given(settings, st.integers(1, 50), draws, st.floats(0, 1000))
def test_never_shorter_than_the_hint_and_little_longer(
    backoff: BackoffSettings, retry: int, draw: float, hint_s: float
) -> None:
    delay_s = backoff_s(backoff, retry, draw, hint_s)
    assert hint_s <= delay_s <= max(backoff.cap_s, hint_s + backoff.base_s)


@pytest.mark.parametrize(("jitter", "delay_s"), [(Jitter.FULL, 0.1), (Jitter.EQUAL, 0.15), (Jitter.NONE, 0.2)])
def test_jitter(jitter: Jitter, delay_s: float) -> None:
    assert backoff_s(BackoffSettings(0.2, 10.0, jitter), 1, 0.5) == pytest.approx(delay_s)


def test_a_hint_spreads_a_crowd_unless_told_not_to() -> None:
    assert backoff_s(BackoffSettings(0.2, 10.0, Jitter.FULL), 1, 0.5, 3.0) == pytest.approx(3.1)
    assert backoff_s(PLAIN, 1, 0.5, 3.0) == 3.0
