"""When a call must be over, and how an application says that it needs its answer sooner."""

from __future__ import annotations

from typing import Final

from sidecar.http1.message import Headers
from sidecar.rules.duration import NUMBER, duration_s

TIMEOUT_FIELDS: Final = (b"sidecar-timeout", b"request-timeout")
"""Fields by which an application shortens one call's total timeout."""


def requested_s(headers: Headers) -> float | None:
    """The shortest timeout that the request asks for, in seconds; None if it has none that can be read."""
    asked = [parsed for name in TIMEOUT_FIELDS if (parsed := timeout_s(headers.get(name))) is not None]
    return min(asked, default=None)


def timeout_s(value: bytes | None) -> float | None:
    """Seconds in `2`, `0.5`, `500ms` or `1m30s`; None if unreadable or zero, which some clients send for "no limit"."""
    if value is None:
        return None
    value = value.strip()
    seconds = float(value) if NUMBER.fullmatch(value) else duration_s(value)
    return seconds if seconds else None
