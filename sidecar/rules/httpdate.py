"""HTTP dates, read and written (RFC 9110 5.6.7)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_MONTHS: Final = {
    name: number for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)
}
_TIME: Final = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
# The grammar is in capitals and small letters; senders that mix them up are understood.
_IMF_DATE: Final = re.compile(
    rb"[a-z]{3}, (?P<day>\d\d) (?P<month>[a-z]{3}) (?P<year>\d{4}) " + _TIME + rb" gmt", re.IGNORECASE
)
_IMF_BYTES: Final = len(b"Sun, 06 Nov 1994 08:49:37 GMT")
_RFC850_DATE: Final = re.compile(
    rb"[a-z]+day, (?P<day>\d\d)-(?P<month>[a-z]{3})-(?P<year>\d\d) " + _TIME + rb" gmt", re.IGNORECASE
)
_ASCTIME_DATE: Final = re.compile(
    rb"[a-z]{3} (?P<month>[a-z]{3}) (?P<day>[ \d]\d) " + _TIME + rb" (?P<year>\d{4})", re.IGNORECASE
)
_KNOWN: Final[dict[bytes, float]] = {}
_MOST_KNOWN: Final = 256
_DAY_NAMES: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTH_NAMES: Final = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date_s(value: bytes, wall_s: float) -> float | None:
    """Unix time of any of the three forms that a recipient must accept; None for anything else.

    `wall_s` tells which century a year of two digits is in.
    """
    moment_s = _KNOWN.get(value)
    if moment_s is not None:
        return moment_s
    if len(value) == _IMF_BYTES:
        moment_s = _imf_date_s(value)
        if moment_s is not None:
            return moment_s
    match = _RFC850_DATE.fullmatch(value) or _ASCTIME_DATE.fullmatch(value)
    if match is None:
        return None
    year = int(match["year"])
    return _moment_s(match, _full_year(year, wall_s) if len(match["year"]) == 2 else year)


def _imf_date_s(value: bytes) -> float | None:
    """Remembered, since all replies of one second have the same."""
    match = _IMF_DATE.fullmatch(value)
    moment_s = None if match is None else _moment_s(match, int(match["year"]))
    if moment_s is not None:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[value] = moment_s
    return moment_s


def _moment_s(match: re.Match[bytes], year: int) -> float | None:
    try:
        moment = datetime(
            year,
            _MONTHS[match["month"].lower()],
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            min(int(match["second"]), 59),  # a leap second is a legal 60
            tzinfo=UTC,
        )
    except (KeyError, ValueError):
        return None
    return moment.timestamp()


def http_date(moment_s: float) -> bytes:
    """The one form that may be sent."""
    moment = datetime.fromtimestamp(int(moment_s), UTC)
    day, month = _DAY_NAMES[moment.weekday()], _MONTH_NAMES[moment.month]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} GMT".encode()


def _full_year(two_digits: int, wall_s: float) -> int:
    """A year more than 50 years ahead is the last one in the past with these digits."""
    this_year = datetime.fromtimestamp(wall_s, UTC).year
    year = this_year - this_year % 100 + two_digits
    return year - 100 if year > this_year + 50 else year
