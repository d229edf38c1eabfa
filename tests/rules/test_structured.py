from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.structured import OTHER, Value, parse_dictionary


@pytest.mark.parametrize(
    ("value", "members"),
    [
        ("", {}),
        ("   ", {}),
        ("a", {"a": True}),
        ("  a=1  ", {"a": 1}),
        ("a=?1, b=?0", {"a": True, "b": False}),
        ("a=-0, b=00012", {"a": 0, "b": 12}),
        ("a=999999999999999", {"a": 999999999999999}),
        ("a=1 \t,\t b", {"a": 1, "b": True}),
        ("a=1,b=2", {"a": 1, "b": 2}),
        ("a=1, a=2", {"a": 2}),
        ("*a_-.*=1", {"*a_-.*": 1}),
        ('a=""', {"a": ""}),
        (r'a="x, \"y\" \\ z"', {"a": r'x, "y" \ z'}),
        ("a=token, b=*t:/%1, c=1.5, d=-999999999999.125", dict.fromkeys("abcd", OTHER)),
        ("a=:aGVsbG8=:, b=::, c=@-1659578233, d=()", dict.fromkeys("abcd", OTHER)),
        ('a=%"", b=%"f%c3%bc%c3%bc %e2%82%ac %f0%9f%98%80"', dict.fromkeys("ab", OTHER)),
        ('a=( 1;x  "b";y=?0 c );z, b', {"a": OTHER, "b": True}),
        ('a;x;y="1, 2"; z=1.0, b=1;x=tok', {"a": True, "b": 1}),
    ],
)
def test_what_is_well_formed(value: str, members: dict[str, Value]) -> None:
    found = parse_dictionary(value.encode())
    assert found == members
    assert [type(one) for one in (found or {}).values()] == [type(one) for one in members.values()]


@pytest.mark.parametrize(
    "value",
    [
        *(",", "a,", ",a", "a,,b", "a b", "a=1 b=2", "a\t", "a;", "a; ;b", "a=1;=2", "a=1;X"),
        *("A", "Max-Age=1", "1", "=1", "a=", "a =1", "a= 1", "&&&", "a, &&&"),
        *("a=-", "a=1.", "a=.1", "a=1.2345", "a=1234567890123.1", "a=1234567890123456", "a=1a"),
        *("a=?", "a=?2", "a=?10", "a=?true"),
        *('a="', 'a="x', r'a="\x"', 'a="x"y', 'a="\u00fc"', 'a="\x7f"', "a='x'"),
        *("a=:", "a=:a", "a=:a=b:", "a=:_:", "a=: :"),
        *("a=@", "a=@1.5", "a=@x"),
        *('a=%"', 'a=%"%"', 'a=%"%C3%BC"', 'a=%"%c3"', 'a=%"%c3%28"', 'a=%"%c0%80"', 'a=%"%ed%a0%80"'),
        *('a=%"%f4%90%80%80"', 'a=%"%e0%80%80"', 'a=%"%f0%80%80%80"', "a=%x"),
        *("a=(", "a=(1", "a=(1,2)", "a=(1 2", 'a=("a""b")', "a=(1;)", "a=((1))", "a=()b"),
    ],
)
def test_one_mistake_spoils_all(value: str) -> None:
    assert parse_dictionary(value.encode()) is None
    assert parse_dictionary(b"z=1, " + value.encode()) is None


def test_only_spaces_may_come_first_or_last() -> None:
    assert parse_dictionary(b"\ta") is None
    assert parse_dictionary(b"a \t") is None


def test_lone_bytes_beyond_ascii_are_mistakes() -> None:
    assert parse_dictionary(b'a="\xfc"') is None
    assert parse_dictionary(b"a=\xb2") is None
    assert parse_dictionary(b"\xa0a=1") is None


KEYS = st.from_regex(r"[a-z*][a-z0-9_.*-]*", fullmatch=True)
ITEMS = st.one_of(
    st.booleans(),
    st.integers(-(10**15) + 1, 10**15 - 1),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)),
)


def written(value: bool | int | str) -> str:
    if isinstance(value, bool):
        return f"?{value:d}"
    return str(value) if isinstance(value, int) else '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


@given(st.dictionaries(KEYS, ITEMS))
def test_what_is_written_is_read(members: dict[str, bool | int | str]) -> None:
    value = ", ".join(f"{key}={written(member)}" for key, member in members.items())
    assert parse_dictionary(value.encode()) == members


@given(st.binary(max_size=200) | st.text('a1=;,"\\ ()?:@%', max_size=200).map(str.encode))
def test_garbage_is_read_without_complaint(value: bytes) -> None:
    found = parse_dictionary(value)
    assert found is None or all(re.fullmatch(r"[a-z*][a-z0-9_.*-]*", key) for key in found)
