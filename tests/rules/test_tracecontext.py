from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.tracecontext import (
    STATE_MAX_CHARS,
    STATE_MAX_MEMBERS,
    format_traceparent,
    parse_traceparent,
    parse_tracestate,
)

TRACE = "12345678901234567890123456789012"
SPAN = "1234567890123456"
LOWER = string.ascii_lowercase + string.digits + "_-*/"

hex_trace = st.integers(1, 2**128 - 1).map(lambda n: f"{n:032x}")
hex_span = st.integers(1, 2**64 - 1).map(lambda n: f"{n:016x}")


@given(hex_trace, hex_span, st.booleans())
def test_what_is_written_is_read(trace_id: str, span_id: str, sampled: bool) -> None:
    assert parse_traceparent(format_traceparent(trace_id, span_id, sampled)) == (trace_id, span_id, sampled)


@given(st.integers(0, 255))
def test_only_the_lowest_flag_counts(flags: int) -> None:
    parsed = parse_traceparent(f"00-{TRACE}-{SPAN}-{flags:02x}".encode())
    assert parsed == (TRACE, SPAN, bool(flags & 1))


@pytest.mark.parametrize(
    "value",
    [
        f"cc-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
        f"01-{TRACE}-{SPAN}-01-",
        f"fe-{TRACE}-{SPAN}-01",
        f" \t00-{TRACE}-{SPAN}-01\t ",
        f"\tcc-{TRACE}-{SPAN}-01-x ",
    ],
)
def test_is_continued(value: str) -> None:
    assert parse_traceparent(value.encode()) == (TRACE, SPAN, True)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-",
        "foo",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-",
        f"00-{TRACE}-{SPAN}-0",
        f"00-{TRACE}-{SPAN}-001",
        f"00-{TRACE}-{SPAN}-.0",
        f"00-{TRACE}-{SPAN}-0.",
        f"00-{TRACE}-{SPAN}-01.",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
        f"cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like",
        f"cc-{TRACE}-{SPAN}-010",
        f"ff-{TRACE}-{SPAN}-01",
        f"FF-{TRACE}-{SPAN}-01",
        f".0-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"000-{TRACE}-{SPAN}-01",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"cc-{'0' * 32}-{SPAN}-01",
        f"cc-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}1-{SPAN}-01",
        f"00-{TRACE[:-1]}.-{SPAN}-01",
        f"00-{TRACE}-{SPAN[:-1]}-01",
        f"00-{TRACE}-{SPAN}1-01",
        f"00-{TRACE}-{SPAN[:-1]}.-01",
        f"00-{'ABCDEF' + TRACE[6:]}-{SPAN}-01",
        f"00-{TRACE}-{'ABCDEF' + SPAN[6:]}-01",
        f"00-{TRACE}-{SPAN}-0A",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01,cc-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01, cc-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-later, cc-{TRACE}-{SPAN}-01-later",
        f"00-{TRACE}-{SPAN}-01\u00e9",
        "00-" + "\u0661" * 32 + f"-{SPAN}-01",
    ],
)
def test_is_ignored(value: str) -> None:
    assert parse_traceparent(value.encode()) is None


@given(st.binary(max_size=80))
def test_no_bytes_break_the_readers(value: bytes) -> None:
    parsed = parse_traceparent(value)
    assert parsed is None or (len(parsed[0]), len(parsed[1])) == (32, 16)
    state = parse_tracestate(value)
    assert parse_tracestate(state.encode()) == state


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        (" \t ", ""),
        (",,,", ""),
        ("foo=1", "foo=1"),
        ("foo=1,bar=2", "foo=1,bar=2"),
        ("foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3"),
        (" foo=1\t", "foo=1"),
        ("foo=1, , bar=2,", "foo=1,bar=2"),
        ("foo=1,foo=1", "foo=1"),
        ("foo=2,bar=3,foo=1", "foo=2,bar=3"),
        ("foo= 1", "foo= 1"),
        ("tenant@vendor=1", "tenant@vendor=1"),
        ("0tenant@vendor=1", "0tenant@vendor=1"),
        ("0foo=1", "0foo=1"),
        (f"{LOWER}=1", f"{LOWER}=1"),
        (f"{LOWER}@a-z0-9_-*/=1", f"{LOWER}@a-z0-9_-*/=1"),
        ("foo =1", ""),
        ("foo", ""),
        ("=1", ""),
        ("FOO=1", ""),
        ("foo.bar=1", ""),
        ("foo@=1,bar=2", ""),
        ("@foo=1,bar=2", ""),
        ("foo@@bar=1,bar=2", ""),
        ("foo@bar@baz=1,bar=2", ""),
        ("foo@0bar=1", ""),
        ("foo=bar=baz", ""),
        ("foo=,bar=3", ""),
        ("foo=\u00e9", ""),
        ("foo=a\x7fb", ""),
    ],
)
def test_state(value: str, expected: str) -> None:
    assert parse_tracestate(value.encode()) == expected


def test_state_takes_every_allowed_character() -> None:
    value = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=") + "~"
    assert parse_tracestate(f"foo={value}".encode()) == f"foo={value}"


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        ("z" * 256, True),
        ("z" * 257, False),
        ("t" * 241 + "@" + "v" * 14, True),
        ("t" * 242 + "@v", False),
        ("t@" + "v" * 15, False),
    ],
)
def test_state_key_lengths(key: str, taken: bool) -> None:
    value = f"foo=1,{key}=1"
    assert parse_tracestate(value.encode()) == (value if taken else "")


@pytest.mark.parametrize(("length", "taken"), [(256, True), (257, False)])
def test_state_value_lengths(length: int, taken: bool) -> None:
    value = f"foo={'v' * length}"
    assert parse_tracestate(value.encode()) == (value if taken else "")


@pytest.mark.parametrize(("count", "taken"), [(STATE_MAX_MEMBERS, True), (STATE_MAX_MEMBERS + 1, False)])
def test_state_member_count(count: int, taken: bool) -> None:
    value = ",".join(f"bar{n:02}=1" for n in range(count))
    assert parse_tracestate(value.encode()) == (value if taken else "")


def test_too_long_a_state_loses_long_members_first() -> None:
    long = "long=" + "v" * 200
    short = [f"k{n}={'v' * 90}" for n in range(4)]
    assert parse_tracestate(",".join([long, *short]).encode()) == ",".join(short)


def test_too_long_a_state_then_loses_its_last_members() -> None:
    short = [f"k{n}={'v' * 100}" for n in range(6)]
    assert parse_tracestate(",".join(short).encode()) == ",".join(short[:4])


def test_too_long_a_state_keeps_a_long_member_that_fits_at_last() -> None:
    long = [f"k{n}={'v' * 200}" for n in range(3)]
    assert parse_tracestate(",".join(long).encode()) == ",".join(long[:2])


members = st.lists(
    st.tuples(
        st.text(string.ascii_lowercase, min_size=1, max_size=8),
        st.text("abcXYZ019;:/+", min_size=1, max_size=200),
    ),
    max_size=STATE_MAX_MEMBERS,
    unique_by=lambda member: member[0],
)


@given(members)
def test_a_state_keeps_order_and_limit_and_only_whole_members(pairs: list[tuple[str, str]]) -> None:
    sent = [f"{key}={value}" for key, value in pairs]
    kept = [member for member in parse_tracestate(", ".join(sent).encode()).split(",") if member]
    assert len(",".join(kept)) <= STATE_MAX_CHARS
    remaining = iter(sent)
    assert all(member in remaining for member in kept)
    if len(",".join(sent)) <= STATE_MAX_CHARS:
        assert kept == sent
