"""Quantities as people write them in a policy: durations, sizes, rates, ratios.

What may live here: text to number, with an error that says what was meant. No files, no policy, and no pydantic, which
a probe would import for nothing: `quantities.py` is what it needs of a unit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}

LONGEST_S = 366 * 86400.0
LARGEST_BYTES = 1 << 40
FASTEST_PER_S = 1e9

_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)"
_DURATION = re.compile(rf"{_NUMBER}(ms|s|m|h|d)")
_SIZE = re.compile(rf"{_NUMBER}(B|KB|MB|GB|KiB|MiB|GiB)")
_RATE = re.compile(rf"{_NUMBER}/([0-9]{{0,6}})(ms|s|m|h|d)")
_RATIO = re.compile(rf"{_NUMBER}%")
_PLAIN = re.compile(_NUMBER)
_LOOSE = re.compile(rf"{_NUMBER}\s*(.*)", re.DOTALL)

_SPELLINGS = {
    **dict.fromkeys(("msec", "msecs", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("b", "byte", "bytes"), "B"),
    "k": "KiB",
    "ki": "KiB",
    "mi": "MiB",
    "g": "GiB",
    "gi": "GiB",
}


class NotUnderstood(ValueError):  # noqa: N818 - named for what happened, as the message reads
    """A value cannot be read. `expected` completes "expected …"; `hint` is empty or a suggestion."""

    def __init__(self, expected: str, hint: str = "") -> None:
        super().__init__(f"expected {expected}" + (f" ({hint})" if hint else ""))
        self.expected = expected
        self.hint = hint


def parse_duration(value: object) -> float:
    """Seconds: `200ms`, `2s`, `1.5m`, `1h`, `7d`."""
    expected = "a duration such as 200ms, 2s, 1m, 1h or 7d"
    if not isinstance(value, str):
        raise NotUnderstood(expected, _meant_number(value, "s"))
    found = _DURATION.fullmatch(value)
    if found is None:
        raise NotUnderstood(expected, _meant_duration(value))
    seconds = float(found[1]) * SECONDS[found[2]]
    if seconds > LONGEST_S:
        raise NotUnderstood("a duration of at most 366d")
    return seconds


def parse_size(value: object) -> int:
    """Bytes: `512B`, `64KiB`, `1.5MiB`, `1GiB`; `KB`, `MB` and `GB` are powers of a thousand."""
    expected = "a size such as 512B, 64KiB or 1MiB"
    if not isinstance(value, str):
        raise NotUnderstood(expected, _meant_number(value, "B"))
    found = _SIZE.fullmatch(value)
    if found is None:
        raise NotUnderstood(expected, _meant_unit(value, BYTES, default="B"))
    size = float(found[1]) * BYTES[found[2]]
    if size > LARGEST_BYTES:
        raise NotUnderstood("a size of at most 1024GiB")
    return int(size)


def parse_rate(value: object) -> float:
    """Events per second: `100/s`, `10/m`, `1000/h`, and `100/10s` for a hundred in any ten seconds."""
    expected = "a rate such as 100/s, 10/m, 1000/h or 100/10s"
    if not isinstance(value, str):
        raise NotUnderstood(expected, _meant_number(value, "/s"))
    found = _RATE.fullmatch(value)
    if found is None:
        raise NotUnderstood(expected, _meant_rate(value))
    span_s = (int(found[2]) if found[2] else 1) * SECONDS[found[3]]
    if span_s == 0:
        raise NotUnderstood(expected, "the time after the slash must not be zero")
    rate_per_s = float(found[1]) / span_s
    if rate_per_s > FASTEST_PER_S:
        raise NotUnderstood("a rate of at most 1000000000/s")
    return rate_per_s


def parse_ratio(value: object) -> float:
    """A share from 0 to 1: `20%` is 0.2."""
    expected = "a ratio from 0% to 100%, such as 20%"
    if not isinstance(value, str):
        raise NotUnderstood(expected, _meant_ratio(value))
    found = _RATIO.fullmatch(value)
    if found is None:
        plain = _PLAIN.fullmatch(value)
        raise NotUnderstood(expected, _meant_ratio(float(value)) if plain else _without_space(value, _RATIO))
    ratio = float(found[1]) / 100
    if ratio > 1:
        raise NotUnderstood(expected)
    return ratio


def show_duration(seconds: float) -> str:
    """The shortest way to write a duration: 0.2 is `200ms`, 90 is `90s`, 3600 is `1h`."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= SECONDS[unit] and seconds % SECONDS[unit] == 0:
            return f"{seconds / SECONDS[unit]:g}{unit}"
    return f"{seconds * 1000:g}ms" if 0 < seconds < 1 else f"{seconds:g}s"


def show_size(size_bytes: float) -> str:
    """The shortest way to write a size: 65536 is `64KiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if size_bytes >= BYTES[unit] and size_bytes % BYTES[unit] == 0:
            return f"{size_bytes / BYTES[unit]:g}{unit}"
    return f"{size_bytes:.0f}B"


def show_rate(rate_per_s: float) -> str:
    """A rate a second, or by the minute or hour where that reads better: 0.5 is `30/m`."""
    for unit in ("s", "m", "h"):
        if (rate_per_s * SECONDS[unit]) % 1 == 0:
            return f"{rate_per_s * SECONDS[unit]:.0f}/{unit}"
    return f"{rate_per_s:g}/s"


def show_ratio(ratio: float) -> str:
    """A ratio as it is written: 0.2 is `20%`."""
    return f"{ratio * 100:g}%"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _meant_number(value: object, unit: str) -> str:
    return f"did you mean {value}{unit}?" if _is_number(value) else ""


def _meant_duration(text: str) -> str:
    clock = re.fullmatch(r"([0-9]{1,6}):([0-5]?[0-9])(?::([0-5]?[0-9]))?", text)
    if clock is None:
        return _meant_unit(text, SECONDS, default="s")
    parts = [int(part) for part in clock.groups() if part is not None]
    seconds = sum(part * scale for part, scale in zip(reversed(parts), (1, 60, 3600), strict=False))
    return f"write it with a unit, such as {seconds}s"


def _meant_rate(text: str) -> str:
    count, slash, per = text.replace(" ", "").replace("per", "/").partition("/")
    unit = _SPELLINGS.get(per.lower(), per.lower()) if slash else "s"
    suggestion = f"{count}/{unit}"
    return f"did you mean {suggestion}?" if _RATE.fullmatch(suggestion) else ""


def _meant_ratio(value: object) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 100:
        return ""
    return f"did you mean {value * 100 if value <= 1 else value:g}%?"


def _without_space(text: str, form: re.Pattern[str]) -> str:
    squeezed = text.replace(" ", "")
    return f"did you mean {squeezed}?" if form.fullmatch(squeezed) else ""


def _meant_unit(text: str, units: Mapping[str, float], *, default: str) -> str:
    found = _LOOSE.fullmatch(text.strip())
    if found is None:
        return ""
    number, unit = found[1], found[2]
    by_case = {known.lower(): known for known in units}
    known = by_case.get(unit.lower()) or _SPELLINGS.get(unit.lower()) if unit else default
    return f"did you mean {number}{known}?" if known in units else ""
