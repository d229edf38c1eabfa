import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.duration import duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("20ms", 0.02),
        ("6m30s", 390.0),
        ("1h2m3.5s", 3723.5),
        ("2d", 172800.0),
        ("100µs", 1e-4),
        ("100μs", 1e-4),
        ("7us", 7e-6),
        ("5ns", 5e-9),
        ("0s", 0.0),
    ],
)
def test_reads_gos_durations(text: str, seconds: float) -> None:
    assert duration_s(text.encode()) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "5s!", "1,5s", "five", "5sec", "1e3s", "5s\n"])
def test_refuses_everything_else(text: str) -> None:
    assert duration_s(text.encode()) is None


@given(st.binary(max_size=40))
def test_any_bytes_give_none_or_a_length(value: bytes) -> None:
    seconds = duration_s(value)
    assert seconds is None or seconds >= 0
