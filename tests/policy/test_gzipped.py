"""One gzip stream, whole and bounded, or a sentence that says what it is instead."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.gzipped import NotInflated, inflate

MIB = 1024 * 1024
BOMB = gzip.compress(bytes(256 * MIB), 9)


def told(data: bytes) -> bytes | str | None:
    """What is in the data, or what to do about it."""
    try:
        return inflate(data, 500)
    except NotInflated as error:
        return error.hint


@given(st.binary(max_size=2000), st.integers(0, 9))
def test_what_was_compressed_comes_back(data: bytes, level: int) -> None:
    assert inflate(gzip.compress(data, level), len(data)) == data


@given(st.binary(min_size=1, max_size=2000), st.integers(1, 2000))
def test_more_than_the_bound_does_not(data: bytes, over: int) -> None:
    assert inflate(gzip.compress(data), max(0, len(data) - over)) is None


@given(st.binary(max_size=500), st.data())
def test_a_beginning_is_not_whole(data: bytes, draw: st.DataObject) -> None:
    whole = gzip.compress(data)
    cut = draw.draw(st.integers(2, len(whole) - 1))
    with pytest.raises(NotInflated) as caught:
        inflate(whole[:cut], 500)
    assert caught.value.got == "the beginning of one"


@given(st.binary(max_size=500), st.binary(min_size=1, max_size=500))
def test_nothing_may_follow(data: bytes, more: bytes) -> None:
    with pytest.raises(NotInflated) as caught:
        inflate(gzip.compress(data) + more, 500)
    assert caught.value.got == f"{len(more)} bytes more behind it"


@given(st.binary(min_size=1, max_size=500), st.data())
def test_damage_never_passes_for_the_data(data: bytes, draw: st.DataObject) -> None:
    whole = bytearray(gzip.compress(data))
    # The head's own fields (time, level, system) are not covered by the checksum.
    at = draw.draw(st.integers(10, len(whole) - 1))
    whole[at] ^= draw.draw(st.integers(1, 255))
    assert told(bytes(whole)) in (None, data, "compress it again: gzip -9n")


@given(st.binary(max_size=500))
def test_whatever_comes_is_data_or_a_sentence(data: bytes) -> None:
    plain = told(b"\x1f\x8b" + data)
    assert plain is None or len(plain) <= 500


@pytest.mark.parametrize(("data", "got"), [(b"provider: shop\n", "something else"), (b"", "an empty file")])
def test_what_is_not_compressed_is_called_by_its_name(data: bytes, got: str) -> None:
    with pytest.raises(NotInflated) as caught:
        inflate(data, 500)
    assert (caught.value.expected, caught.value.got) == ("gzip data", got)
    assert caught.value.hint == "leave .gz out of its name"


def test_two_streams_are_not_one() -> None:
    with pytest.raises(NotInflated, match="one gzip stream"):
        inflate(gzip.compress(b"a") + gzip.compress(b"b"), 500)


def test_a_bomb_is_never_unpacked() -> None:
    assert len(BOMB) < MIB
    tracemalloc.start()
    try:
        assert inflate(BOMB, MIB) is None
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


def test_zlibs_own_format_is_not_gzips() -> None:
    with pytest.raises(NotInflated, match="gzip data"):
        inflate(zlib.compress(b"a"), 500)
