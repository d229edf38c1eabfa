"""Lengths of time as people and providers write them in header fields. Text in, seconds out."""

from __future__ import annotations

import re
from typing import Final

NUMBER: Final = re.compile(rb"\d{1,15}(?:\.\d{1,9})?")
_PART: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ns|us|µs|μs|ms|s|m|h|d)")
_UNITS_S: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}


def duration_s(value: bytes) -> float | None:
    """Seconds in `20ms`, `1.5s` or `6m30s` (Go's notation, and days); None if it is anything else."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    parts = _PART.findall(text)
    if not parts or sum(len(number) + len(unit) for number, unit in parts) != len(text):
        return None
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
