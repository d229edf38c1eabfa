from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.cache.directives import LONGEST_S, NOTHING, parse_directives, split_list, unquoted


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("max-age=3600", 3600.0),
        ("MaX-aGe=3600", 3600.0),
        ("max-age=003600", 3600.0),
        ('max-age="3600"', 3600.0),
        ("foobar, max-age=3600", 3600.0),
        (" , ,max-age=3600,,", 3600.0),
        ("max-age=3600, max-age=3600", 3600.0),
        ('max-age=3600, max-age="03600"', 3600.0),
        ("max-age=0", 0.0),
        ("max-age=2147483647", 2147483647.0),
        ("max-age=2147483648", LONGEST_S),
        ("max-age=99999999999", LONGEST_S),
        ("max-age=" + "9" * 5000, LONGEST_S),
        ("no-cache", None),
        ("", None),
        ('extension="max-age=3600"', None),
        ('extension="max-age=3600", max-age=1', 1.0),
        ('max-age=1, extension="max-age=3600"', 1.0),
        (r'extension="\", max-age=3600, \"", max-age=1', 1.0),
    ],
)
def test_seconds(value: str, seconds: float | None) -> None:
    assert parse_directives(value.encode()).seconds("max-age") == seconds


@pytest.mark.parametrize(
    "value",
    [
        "max-age",
        "max-age=",
        "max-age=-3600",
        "max-age=3600.0",
        "max-age=3600.5",
        "max-age=1e3",
        "max-age=a3600",
        "max-age=3600a",
        "max-age='3600'",
        'max-age="3600',
        "max-age =3600",
        "max-age= 3600",
        "max-age=3600 3600",
        "max-age=\u0663".encode().decode("latin-1"),
        "max-age=1, max-age=1800",
        "max-age=1800, max-age=1",
        "max-age=1800, max-age=soon",
        'max-age=3600, extension="never closed',
    ],
)
def test_malformed_or_contradictory_is_stale(value: str) -> None:
    assert parse_directives(value.encode("latin-1")).seconds("max-age") == 0.0


def test_no_field_says_nothing() -> None:
    assert parse_directives(None) is NOTHING
    assert not NOTHING.has("max-age")
    assert not NOTHING.is_bare("max-age")
    assert not NOTHING.is_whole("no-cache")


def test_a_restriction_counts_however_it_is_spelled() -> None:
    for value in (b"No-StOrE", b"no-store=1", b"no-store =x", b'x="open, no-store', b"max-age=1,no-store"):
        assert parse_directives(value).has("no-store"), value
    assert not parse_directives(b'x="no-store"').has("no-store")


@pytest.mark.parametrize(
    ("value", "fields", "is_whole"),
    [
        (b'no-cache="a"', {b"a"}, False),
        (b'no-cache="A, b ,,"', {b"a", b"b"}, False),
        (b'no-cache="a", no-cache="b"', {b"a", b"b"}, False),
        (b'no-cache="\\a"', {b"a"}, False),
        (b"no-cache", set(), True),
        (b'no-cache="a", no-cache', set(), True),
        (b'no-cache=""', set(), True),
        (b'no-cache="a b"', set(), True),
        (b"no-cache=a", set(), True),
        (b"no-cache=true", set(), True),
        (b'no-cache="a", x="open', set(), True),
        (b"private", set(), False),
    ],
)
def test_only_a_quoted_list_narrows_a_directive(value: bytes, fields: set[bytes], is_whole: bool) -> None:
    directives = parse_directives(value)
    assert directives.fields("no-cache") == fields
    assert directives.is_whole("no-cache") is is_whole


def test_bare_is_without_any_argument() -> None:
    assert parse_directives(b"max-stale").is_bare("max-stale")
    assert not parse_directives(b"max-stale=1").is_bare("max-stale")
    assert not parse_directives(b"max-stale, max-stale=1").is_bare("max-stale")


@pytest.mark.parametrize(
    ("value", "members"),
    [
        (b"", [b""]),
        (b"a", [b"a"]),
        (b" a , b ", [b"a", b"b"]),
        (b'a="x,y", b', [b'a="x,y"', b"b"]),
        (b'a="x\\",y", b', [b'a="x\\",y"', b"b"]),
        (b'a="x", b="y, z', [b'a="x"', b'b="y', b"z"]),
        (b'a\\,b, "c"', [b"a\\", b"b", b'"c"']),
        (b'\\", a"', [b'\\", a"']),
        (b'"a",', [b'"a"', b""]),
    ],
)
def test_commas_in_quotes_do_not_separate(value: bytes, members: list[bytes]) -> None:
    assert split_list(value) == members


@pytest.mark.parametrize(
    ("argument", "text"), [(b'"a"', b"a"), (b'""', b""), (b'"', None), (b"a", None), (b'"a', None)]
)
def test_unquoted(argument: bytes, text: bytes | None) -> None:
    assert unquoted(argument) == text


NAMES = st.sampled_from(["max-age", "no-store", "no-cache", "private", "s-maxage"])


@given(st.text(alphabet='max-age=no-store,private" \\0123456789', max_size=600).map(str.encode), NAMES)
def test_garbage_is_read_without_complaint_and_never_out_of_range(value: bytes, name: str) -> None:
    directives = parse_directives(value)
    seconds = directives.seconds(name)
    assert (seconds is not None) is directives.has(name)
    assert seconds is None or 0.0 <= seconds <= LONGEST_S
    assert directives.has(name) or not directives.fields(name)


@given(st.lists(st.sampled_from([b"no-store", b'x="a,b"', b"max-age=5", b"y", b""]), max_size=6))
def test_lines_joined_read_like_one_line(members: list[bytes]) -> None:
    together = parse_directives(b", ".join(members))
    for name, member in (("no-store", b"no-store"), ("y", b"y")):
        assert together.has(name) is (member in members)
    assert together.seconds("max-age") == (5.0 if b"max-age=5" in members else None)
