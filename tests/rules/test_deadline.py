import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.deadline import requested_s, timeout_s
from tests.fakes import make_headers


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        (" 0.5 ", 0.5),
        ("500ms", 0.5),
        ("1m30s", 90.0),
        ("0", None),
        ("0s", None),
        ("-1", None),
        ("2 s", None),
    ],
)
def test_reads_seconds_and_durations(value: str, seconds: float | None) -> None:
    assert timeout_s(value.encode()) == seconds


@given(st.binary(max_size=30))
def test_is_positive_or_nothing(value: bytes) -> None:
    seconds = timeout_s(value)
    assert seconds is None or seconds > 0


def test_the_shorter_of_both_fields_counts() -> None:
    assert requested_s(make_headers({"Sidecar-Timeout": "3", "Request-Timeout": "1500ms"})) == 1.5
    assert requested_s(make_headers({"Sidecar-Timeout": "3", "Request-Timeout": "soon"})) == 3
    assert requested_s(make_headers()) is None
