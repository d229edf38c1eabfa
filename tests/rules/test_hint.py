from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.hint import HintField, HintSettings, HintUnit, hint_s, parse_wait_s
from tests.fakes import make_headers

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
WALL_S = NOON.timestamp()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("2.0", 2.0),
        ("0.25", 0.25),
        ("Sun, 22 Nov 2026 12:01:30 GMT", 90.0),
        ("Sunday, 22-Nov-26 12:01:30 GMT", 90.0),
        ("Sun Nov 22 12:01:30 2026", 90.0),
        ("Tue Dec  1 12:00:00 2026", 9 * 86400.0),
        ("Sun, 22 Nov 2026 12:00:60 GMT", 59.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("Sunday, 22-Nov-76 12:00:00 GMT", (datetime(2076, 11, 22, 12, tzinfo=UTC) - NOON).total_seconds()),
        ("Sunday, 22-Nov-77 12:00:00 GMT", 0.0),
        (str(int(WALL_S) + 42), 42.0),
        (str(int(WALL_S) - 42), 0.0),
        (str((int(WALL_S) + 42) * 1000), 42.0),
        ("6m30s", 390.0),
        ("20ms", 0.02),
        ("2026-11-22T12:00:45Z", 45.0),
        ("2026-11-22t12:00:45z", 45.0),
        ("2026-11-22T14:00:45.500+02:00", 45.5),
        ("2026-11-22T11:00:00Z", 0.0),
        ('"burst";r=0;t=30', 30.0),
        ('"burst";r=0;t=30, "daily";r=0;t=3600', 3600.0),
        ('"burst";r=5;t=30, "daily";r=0;t=60', 60.0),
        ("limit=100, remaining=0, reset=17", 17.0),
        ("t=9", 9.0),
    ],
)
def test_reads_every_form_in_use(value: str, seconds: float) -> None:
    assert parse_wait_s(value.encode(), WALL_S) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-5",
        "5, 10",
        "1e9",
        "nan",
        "inf",
        "٣",
        "Sun, 31 Feb 2026 12:00:00 GMT",
        "Sun, 22 Foo 2026 12:00:00 GMT",
        "Sun, 22 Nov 2026 12:00:00 CET",
        "2026-13-22T12:00:00Z",
        "2026-11-22T12:00:00",
        '"burst";r=5;t=30',
        "limit=100",
        "t=later",
        "9" * 2000,
    ],
)
def test_garbage_says_nothing(value: str) -> None:
    assert parse_wait_s(value.encode(), WALL_S) is None


@pytest.mark.parametrize(
    ("unit", "value", "seconds"),
    [
        (HintUnit.EPOCH_S, str(WALL_S + 5), 5.0),
        (HintUnit.EPOCH_S, "5", 0.0),
        (HintUnit.DELTA_S, "2000000000", 2e9),
        (HintUnit.MS, "1500", 1.5),
        (HintUnit.DURATION, "1m", 60.0),
        (HintUnit.RFC3339, "2026-11-22T12:00:05Z", 5.0),
        (HintUnit.DURATION, "60", None),
        (HintUnit.RFC3339, "60", None),
        (HintUnit.EPOCH_S, "1m", None),
        (HintUnit.MS, "-1", None),
    ],
)
def test_a_stated_unit_is_final(unit: HintUnit, value: str, seconds: float | None) -> None:
    parsed = parse_wait_s(value.encode(), WALL_S, HintField(b"x-reset", unit))
    assert parsed == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("name", [b"retry-after-ms", b"x-ratelimit-interval-milliseconds"])
def test_a_name_in_milliseconds_is_believed(name: bytes) -> None:
    assert parse_wait_s(b"1500", WALL_S, HintField(name)) == 1.5
    assert parse_wait_s(str((int(WALL_S) + 3) * 1000).encode(), WALL_S, HintField(name)) == 3.0


@given(st.binary(max_size=60), st.sampled_from(list(HintUnit)), st.floats(0, 4e9))
def test_never_raises_and_is_never_negative(value: bytes, unit: HintUnit, wall_s: float) -> None:
    wait_s = parse_wait_s(value, wall_s, HintField(b"retry-after", unit))
    assert wait_s is None or wait_s >= 0


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)), st.floats(0, 4e9))
def test_http_dates_agree_with_the_standard_library(moment: datetime, wall_s: float) -> None:
    moment = moment.replace(tzinfo=UTC, microsecond=0)
    value = format_datetime(moment, usegmt=True).encode()
    assert parse_wait_s(value, wall_s) == pytest.approx(max(0.0, moment.timestamp() - wall_s))


FIELDS = (HintField(b"retry-after-ms"), HintField(b"retry-after"), HintField(b"x-ratelimit-reset"))


def test_the_first_readable_field_wins_and_lies_are_capped() -> None:
    headers = make_headers({"Retry-After-Ms": "soon", "Retry-After": "5", "X-RateLimit-Reset": "9"})
    assert hint_s(headers, FIELDS, 60.0, WALL_S) == 5.0
    assert hint_s(headers, FIELDS, 2.0, WALL_S) == 2.0
    assert hint_s(headers, FIELDS[:1], 60.0, WALL_S) is None
    assert hint_s(make_headers(), FIELDS, 60.0, WALL_S) is None


def test_quota_fields_do_not_speak_of_failures() -> None:
    assert HintSettings(FIELDS).about_failures == FIELDS[:2]
