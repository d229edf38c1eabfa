from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.httpdate import http_date, http_date_s

MOMENT_S = datetime(2050, 8, 18, 2, 1, 18, tzinfo=UTC).timestamp()
NOW_S = datetime(2026, 11, 22, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "value",
    [
        "Thu, 18 Aug 2050 02:01:18 GMT",
        "Thursday, 18-Aug-50 02:01:18 GMT",
        "Thu Aug 18 02:01:18 2050",
        "THU, 18 AUG 2050 02:01:18 gmt",
    ],
)
def test_reads_all_three_forms_in_any_case(value: str) -> None:
    assert http_date_s(value.encode(), NOW_S) == MOMENT_S


def test_an_early_day_of_asctime_has_a_space() -> None:
    assert http_date_s(b"Mon Aug  8 02:01:18 2050", NOW_S) == MOMENT_S - 10 * 86400


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        "-1",
        "foo",
        "Thu, 18 Aug 2050 02:01:18",
        "Thu, 18 Aug 2050 02:01:18 UTC",
        "Thu, 18 Aug 2050 02:01:18 AEST",
        "Thu, 18 Aug 50 02:01:18 GMT",
        "Thu 18 Aug 2050 02:01:18 GMT",
        "Thu, 18  Aug  2050 02:01:18 GMT",
        "Thu, 18-Aug-2050 02:01:18 GMT",
        "Thu, 18 Aug 2050 02.01.18 GMT",
        "Thu, 18 Aug 2050 2:01:18 GMT",
        "Thu, 18 Aug 2050 24:01:18 GMT",
        "Thu, 31 Feb 2050 02:01:18 GMT",
        "Thu, 18 Foo 2050 02:01:18 GMT",
        "Thu, 18 Aug 0000 02:01:18 GMT",
        "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
        "2050-08-18T02:01:18Z",
    ],
)
def test_anything_else_is_no_date(value: str) -> None:
    assert http_date_s(value.encode(), NOW_S) is None


@pytest.mark.parametrize(("digits", "year"), [("76", 2076), ("77", 1977), ("26", 2026), ("00", 2000)])
def test_two_digits_are_at_most_fifty_years_ahead(digits: str, year: int) -> None:
    moment = datetime(year, 8, 18, tzinfo=UTC)
    assert http_date_s(f"Thursday, 18-Aug-{digits} 00:00:00 GMT".encode(), NOW_S) == moment.timestamp()


def test_a_leap_second_is_a_second_of_its_minute() -> None:
    assert (
        http_date_s(b"Sat, 31 Dec 2016 23:59:60 GMT", NOW_S)
        == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    )


@given(st.integers(0, 253_402_300_799))
def test_what_is_written_is_what_the_standard_library_writes_and_reads_back(moment_s: int) -> None:
    assert http_date(moment_s + 0.9).decode() == formatdate(moment_s, usegmt=True)
    assert http_date_s(http_date(moment_s), NOW_S) == moment_s


@given(st.binary(max_size=40), st.floats(0, 4e9))
def test_never_raises(value: bytes, wall_s: float) -> None:
    moment_s = http_date_s(value, wall_s)
    assert moment_s is None or moment_s > -1e12
