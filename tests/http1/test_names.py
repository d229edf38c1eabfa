"""Names are found by what went before them, or else by looking; either way they are the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.http1.names import LONGEST_KNOWN, MOST_KNOWN, FieldName, FieldNames

HOP = frozenset((b"host",))


def read(names: FieldNames, *message: bytes) -> list[FieldName]:
    """What a reader does with a head."""
    last, found = names.start, []
    for name in message:
        known = last.next
        if known is None or known.name != name:
            known = names.follow(last, name)
        found.append(last := known)
    return found


@given(st.lists(st.lists(st.sampled_from([b"Host", b"host", b"Date", b"date", b"ETag"]))))
def test_any_order_gives_the_same_names(messages: list[list[bytes]]) -> None:
    names = FieldNames(HOP)
    for message in messages:
        found = read(names, *message)
        assert [one.name for one in found] == message
        assert [(one.key, one.hop) for one in found] == [(name.lower(), name.lower() in HOP) for name in message]
        assert found == [names.known[name] for name in message], "they are shared"


def test_a_name_is_expected_where_it_was_last() -> None:
    names = FieldNames(HOP)
    for _ in range(2):
        host, date = read(names, b"Host", b"Date")
    assert names.start.next is host
    assert host.next is date
    (other,) = read(names, b"Date")
    assert other is date
    assert names.start.next is date


def test_made_up_names_are_not_kept() -> None:
    names = FieldNames(HOP)
    made_up = [b"X-%d" % number for number in range(2 * MOST_KNOWN)]
    too_long = b"X-" + b"y" * LONGEST_KNOWN
    for name in [too_long, *made_up]:
        for _ in range(2):
            assert [one.key for one in read(names, b"Host", name)] == [b"host", name.lower()]
    assert len(names.known) == MOST_KNOWN
    assert too_long not in names.known
    assert all(one.next is None or one.next.name in names.known for one in names.known.values())
