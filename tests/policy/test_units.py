"""Quantities: what reads, what does not, and what is suggested instead."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.units import (
    SECONDS,
    NotUnderstood,
    parse_duration,
    parse_rate,
    parse_ratio,
    parse_size,
    show_duration,
    show_rate,
    show_ratio,
    show_size,
)

PARSERS = [parse_duration, parse_size, parse_rate, parse_ratio]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2),
        ("2s", 2.0),
        ("1.5m", 90.0),
        ("1h", 3600.0),
        ("7d", 604800.0),
        ("0s", 0.0),
        ("366d", 366 * 86400.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512B", 512), ("64KiB", 65536), ("1.5MiB", 1572864), ("1GiB", 1 << 30), ("10KB", 10_000), ("2MB", 2_000_000)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "per_s"), [("100/s", 100.0), ("30/m", 0.5), ("1800/h", 0.5), ("100/10s", 10.0), ("1/200ms", 5.0)]
)
def test_rates(text: str, per_s: float) -> None:
    assert parse_rate(text) == pytest.approx(per_s)


@pytest.mark.parametrize(("text", "ratio"), [("20%", 0.2), ("0%", 0.0), ("100%", 1.0), ("0.5%", 0.005)])
def test_ratios(text: str, ratio: float) -> None:
    assert parse_ratio(text) == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("parse", "value", "meant"),
    [
        (parse_duration, 30, "30s"),
        (parse_duration, 0.5, "0.5s"),
        (parse_duration, "30", "30s"),
        (parse_duration, "30 s", "30s"),
        (parse_duration, "2sec", "2s"),
        (parse_duration, "5 Minutes", "5m"),
        (parse_duration, "3D", "3d"),
        (parse_duration, "1:30", "90s"),
        (parse_duration, "1:00:00", "3600s"),
        (parse_size, 64, "64B"),
        (parse_size, "64kib", "64KiB"),
        (parse_size, "64k", "64KiB"),
        (parse_size, "64 bytes", "64B"),
        (parse_rate, 100, "100/s"),
        (parse_rate, "100", "100/s"),
        (parse_rate, "100/sec", "100/s"),
        (parse_rate, "10 per minute", "10/m"),
        (parse_ratio, 0.2, "20%"),
        (parse_ratio, 20, "20%"),
        (parse_ratio, "0.2", "20%"),
        (parse_ratio, "20 %", "20%"),
    ],
)
def test_what_was_meant_is_suggested_and_reads(parse: Callable[[object], float], value: object, meant: str) -> None:
    with pytest.raises(NotUnderstood) as raised:
        parse(value)
    assert meant in raised.value.hint
    parse(meant)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "value", [None, True, [], {}, "", "x", "-1s", "1e3s", "١s", "5/fortnight", "5/0s", "101%", "9" * 20]
)
def test_nonsense_is_refused(parse: Callable[[object], float], value: object) -> None:
    with pytest.raises(NotUnderstood):
        parse(value)


@pytest.mark.parametrize(
    ("parse", "text"), [(parse_duration, "367d"), (parse_size, "1025GiB"), (parse_rate, "2000000000/s")]
)
def test_there_are_ends(parse: Callable[[object], float], text: str) -> None:
    with pytest.raises(NotUnderstood, match="at most"):
        parse(text)


@pytest.mark.parametrize("parse", PARSERS)
@given(text=st.text())
def test_any_text_is_read_or_refused(parse: Callable[[object], float], text: str) -> None:
    try:
        assert parse(text) >= 0
    except NotUnderstood as error:
        assert error.expected  # noqa: PT017 - either outcome is right


@given(number=st.integers(0, 30), unit=st.sampled_from(sorted(SECONDS)))
def test_a_duration_survives_being_shown(number: int, unit: str) -> None:
    seconds = parse_duration(f"{number}{unit}")
    assert parse_duration(show_duration(seconds)) == pytest.approx(seconds)


@given(number=st.integers(1, 10_000), unit=st.sampled_from("smh"))
def test_a_rate_survives_being_shown(number: int, unit: str) -> None:
    per_s = parse_rate(f"{number}/{unit}")
    assert parse_rate(show_rate(per_s)) == pytest.approx(per_s, rel=1e-3)


@given(percent=st.integers(0, 100))
def test_a_ratio_survives_being_shown(percent: int) -> None:
    assert show_ratio(parse_ratio(f"{percent}%")) == f"{percent}%"


@pytest.mark.parametrize("text", ["512B", "64KiB", "3MiB", "1GiB", "0B"])
def test_a_size_survives_being_shown(text: str) -> None:
    assert show_size(parse_size(text)) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "200ms"), (0, "0s"), (90, "90s"), (3600, "1h"), (1.5, "1.5s")])
def test_durations_are_shown_short(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text
