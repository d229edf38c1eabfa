"""How long a provider asks us to stay away, from whatever field it says it in.

What may live here: text to seconds. The wall clock is an argument. Sources: RFC 9110 10.2.3 (Retry-After),
RFC 3339, draft-ietf-httpapi-ratelimit-headers, and what providers send in the wild.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sidecar.http1.message import Headers
from sidecar.rules.duration import NUMBER, duration_s
from sidecar.rules.httpdate import http_date_s

EPOCH_FROM_S: Final = 1e9
"""A number this large is a moment (2001 or later), not a wait of 31 years."""
EPOCH_FROM_MS: Final = 1e12

_LONGEST_BYTES: Final = 1024

_RFC3339: Final = re.compile(rb"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)")
_QUOTA_RESET: Final = re.compile(rb"(?:^|[;\s])(?:t|reset)\s*=\s*(\d{1,15})(?=$|[;\s])")
_QUOTA_LEFT: Final = re.compile(rb"(?:^|[;\s])(?:r|remaining)\s*=\s*(\d{1,15})(?=$|[;\s])")


class HintUnit(StrEnum):
    """How a field says when to come back."""

    RETRY_AFTER = "retry_after"
    """Any form that can be told from its looks: seconds, HTTP-date, epoch, `6m30s`, RFC 3339, `t=30`; the name of a
    field that ends in `-ms` makes its number milliseconds."""
    EPOCH_S = "epoch_s"
    DELTA_S = "delta_s"
    MS = "ms"
    DURATION = "duration"
    RFC3339 = "rfc3339"


@dataclass(frozen=True, slots=True)
class HintField:
    name: bytes
    """In lower case."""
    unit: HintUnit = HintUnit.RETRY_AFTER


@dataclass(frozen=True, slots=True)
class HintSettings:
    """Which fields to believe, in order, and for how long at most."""

    fields: tuple[HintField, ...] = (HintField(b"retry-after"),)
    cap_s: float = 60.0

    @property
    def about_failures(self) -> tuple[HintField, ...]:
        """The fields that speak of this very failure: quota fields come with every reply and say nothing of a 5xx."""
        return tuple(field for field in self.fields if field.name.startswith(b"retry-after"))


def hint_s(headers: Headers, fields: Sequence[HintField], cap_s: float, wall_s: float) -> float | None:
    """Seconds to wait, from 0 to `cap_s`, by the first field that is there and readable; None if there is none."""
    for field in fields:
        value = headers.get(field.name)
        if value is not None:
            wait_s = parse_wait_s(value, wall_s, field)
            if wait_s is not None:
                return min(wait_s, cap_s)
    return None


def parse_wait_s(value: bytes, wall_s: float, field: HintField = HintField(b"retry-after")) -> float | None:
    """Seconds from `wall_s`, never negative; None if unreadable."""
    value = value.strip()
    if len(value) > _LONGEST_BYTES:
        return None
    match field.unit:
        case HintUnit.RETRY_AFTER:
            return _by_looks_s(value, wall_s, field.name)
        case HintUnit.DURATION:
            return duration_s(value)
        case HintUnit.RFC3339:
            return _until_s(_rfc3339_s(value), wall_s)
    if NUMBER.fullmatch(value) is None:
        return None
    number = float(value)
    match field.unit:
        case HintUnit.EPOCH_S:
            return _until_s(number, wall_s)
        case HintUnit.MS:
            return number / 1000
        case _:
            return number


def _by_looks_s(value: bytes, wall_s: float, name: bytes) -> float | None:
    if NUMBER.fullmatch(value):
        return _number_s(name, float(value), wall_s)
    moment_s = http_date_s(value, wall_s)
    if moment_s is None:
        moment_s = _rfc3339_s(value)
    if moment_s is not None:
        return _until_s(moment_s, wall_s)
    return _quota_s(value) if b"=" in value else duration_s(value)


def _until_s(moment_s: float | None, wall_s: float) -> float | None:
    return None if moment_s is None else max(0.0, moment_s - wall_s)


def _number_s(name: bytes, number: float, wall_s: float) -> float:
    if number >= EPOCH_FROM_MS:
        return max(0.0, number / 1000 - wall_s)
    if name.endswith((b"-ms", b"-milliseconds")):
        return number / 1000
    if number >= EPOCH_FROM_S:
        return max(0.0, number - wall_s)
    return number


def _rfc3339_s(value: bytes) -> float | None:
    if _RFC3339.fullmatch(value) is None:
        return None
    try:
        return datetime.fromisoformat(value.decode().upper()).timestamp()
    except ValueError:
        return None


def _quota_s(value: bytes) -> float | None:
    """The longest reset among the spent quotas of a `RateLimit` field; a quota that says nothing is taken as spent."""
    if b";" not in value:
        # An older draft gives one quota as a list: `limit=100, remaining=0, reset=30`.
        value = value.replace(b",", b";")
    waits_s = []
    for quota in value.split(b","):
        reset, left = _QUOTA_RESET.search(quota), _QUOTA_LEFT.search(quota)
        if reset is not None and (left is None or int(left[1]) == 0):
            waits_s.append(float(reset[1]))
    return max(waits_s, default=None)
