from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.stores.codec import HEAD_AT, MAGIC, MOST_RECORD_BYTES, Codec, Record, decode_head, head_end
from tests.stores.entries import entries, keys, make_entry, make_key, times

CODEC = Codec(b"s" * 32)
records = st.builds(Record, keys, st.lists(entries, min_size=1, max_size=4).map(tuple), times)
ONE = Record(make_key(1), (make_entry(b"body" * 10),), 2e9)


@given(records)
def test_what_was_encoded_is_decoded(record: Record) -> None:
    assert CODEC.decode(CODEC.encode(record)) == record


@given(records, st.data())
def test_no_cut_record_is_one(record: Record, data: st.DataObject) -> None:
    encoded = CODEC.encode(record)
    assert CODEC.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))]) is None


@given(records, st.data())
def test_no_record_with_a_flipped_bit_is_one(record: Record, data: st.DataObject) -> None:
    encoded = bytearray(CODEC.encode(record))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert CODEC.decode(bytes(encoded)) is None


@given(records, st.binary(min_size=1, max_size=20))
def test_nothing_may_follow_a_record(record: Record, more: bytes) -> None:
    assert CODEC.decode(CODEC.encode(record) + more) is None


@given(st.binary(max_size=200))
@example(b"")
@example(MAGIC)
@example(MAGIC + bytes(HEAD_AT))
def test_foreign_data_is_no_record(data: bytes) -> None:
    assert CODEC.decode(data) is None
    assert CODEC.decode(MAGIC + data) is None
    assert decode_head(data) is None


def test_another_secret_or_version_is_no_record() -> None:
    encoded = CODEC.encode(ONE)
    assert Codec(b"t" * 32).decode(encoded) is None
    assert Codec(b"").decode(encoded) is None
    assert CODEC.decode(b"SCR\x00" + encoded[4:]) is None


@given(st.recursive(st.none() | st.booleans() | st.integers(-5, 700) | st.text(max_size=3), st.lists, max_leaves=20))
def test_a_good_seal_says_nothing_of_what_is_inside(head: object) -> None:
    """Where the secret is known, whoever can write to the store can seal anything."""
    decoded = CODEC.decode(_sealed(head))
    assert decoded is None or decoded.variants == ()


def test_every_value_inside_is_checked() -> None:
    good = [0, 200, "OK", "A: b", 1.0, 2.0, [["accept", "x"]], "p", "r", "o", "/", ["t"], False]
    assert CODEC.decode(_sealed([make_key(1).hex(), 3.0, [good]])) is not None
    for index, bad in [
        (0, -1), (0, "0"), (1, "200"), (1, 99), (1, 600), (2, 1), (2, "OK\r\nX: y"), (3, "A"), (3, "A: b\r\nc"),
        (3, "A: b\r\n"), (3, "A: b\r"), (3, "A: b\nB: c"), (3, "A: \0"), (3, ": b"), (3, "A:b"),
        (3, 7), (3, [["A", "b"]]), (3, "A: €"),
        (4, None), (5, "x"), (6, [["a", 1]]), (7, None), (8, 1),
        (9, []), (10, 1), (11, [1]), (11, None), (12, 1), (12, None),
    ]:  # fmt: skip
        row = [*good]
        row[index] = bad
        assert CODEC.decode(_sealed([make_key(1).hex(), 3.0, [row]])) is None, (index, bad)


@given(records)
def test_a_head_is_read_without_the_bodies(record: Record) -> None:
    encoded = CODEC.encode(record)
    end = head_end(encoded)
    head = decode_head(encoded[:end])
    assert head is not None
    assert head.key == record.key
    assert [(entry.vary, entry.tags, entry.body) for entry in head.variants] == [
        (entry.vary, entry.tags, b"") for entry in record.variants
    ]
    assert decode_head(encoded[: end - 1]) is None


def test_a_record_keeps_the_newest_of_many_large_variants() -> None:
    large = bytes(MOST_RECORD_BYTES // 3)
    variants = tuple([make_entry(large, vary=((b"accept", bytes([number])),)) for number in range(6)])
    decoded = CODEC.decode(CODEC.encode(Record(make_key(1), variants, 1.0)))
    assert decoded is not None
    assert decoded.variants == variants[:4]


def test_values_of_a_query_stay_in_memory() -> None:
    entry = make_entry(target=b"/v1/customers?api_key=sk_live_1&sk_live_2")
    assert entry.target.endswith(b"sk_live_2")
    decoded = CODEC.decode(data := CODEC.encode(Record(make_key(1), (entry,), 2e9)))
    assert decoded is not None
    assert decoded.variants[0].shown == entry.shown
    for text in (data, repr(entry).encode(), entry.shown.encode()):
        assert b"sk_live" not in text


def test_halves_of_characters_do_not_prevent_storing() -> None:
    decoded = CODEC.decode(CODEC.encode(Record(make_key(1), (make_entry(origin="a\ud800", tags=("\udfff",)),), 1.0)))
    assert decoded is not None
    assert (decoded.variants[0].origin, decoded.variants[0].tags) == ("a?", ("?",))


def _sealed(head: object) -> bytes:
    import orjson

    text = orjson.dumps(head)
    sealed = len(text).to_bytes(4, "big") + text
    return MAGIC + CODEC._checksum(sealed) + sealed
