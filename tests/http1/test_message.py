"""Fields keep what came; bodies lose nothing between one feeder and one reader, and can be sent again while kept."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http1.message import HIGH_WATER_BYTES, NOTABLE, Body, Headers, ReplayBody, pack

names = st.sampled_from([b"Accept", b"accept", b"X-One", b"x-ONE", b"Set-Cookie"])
fields = st.lists(st.tuples(names, st.binary(min_size=1, max_size=4)), max_size=12)


class Feeder:
    """A flow that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")

    def abandon(self) -> None:
        self.told.append("abandon")


@given(fields)
def test_fields_keep_order_case_and_number(pairs: list[tuple[bytes, bytes]]) -> None:
    headers = Headers(pairs)
    assert headers.fields == pairs
    for key in {name.lower() for name, _ in pairs}:
        values = [value for name, value in pairs if name.lower() == key]
        assert headers.all(key) == values
        assert headers.get(key) == b", ".join(values)


@given(fields, names)
def test_remove_and_set_touch_one_name_only(pairs: list[tuple[bytes, bytes]], name: bytes) -> None:
    headers = Headers(pairs)
    headers.set(name, b"new")
    others = [pair for pair in pairs if pair[0].lower() != name.lower()]
    assert headers.fields == [*others, (name, b"new")]
    headers.remove(name.lower())
    assert headers.fields == others
    assert name.lower() not in headers


@given(st.lists(st.sampled_from([*NOTABLE, b"accept", b"date", b"cache-control"])))
def test_what_is_notable_is_noted(keys: list[bytes]) -> None:
    headers = Headers((key.title(), b"x") for key in keys)
    assert headers.notable is not NOTABLE.isdisjoint(keys)


@given(fields, names)
def test_packed_fields_are_those_of_now(pairs: list[tuple[bytes, bytes]], name: bytes) -> None:
    headers = Headers(pairs)
    assert headers.pack() == headers.packed == pack(headers.fields)
    headers.add(name, b"new")
    assert headers.pack() == pack(headers.fields)
    headers.remove(name.lower())
    assert headers.pack() == pack(headers.fields)


def test_repr_shows_no_value() -> None:
    assert "sk_live" not in repr(Headers([(b"Authorization", b"Bearer sk_live")]))


async def read_all(body: Body | ReplayBody) -> bytes:
    data = b""
    while piece := await body.read():
        data += piece
    return data


@given(st.lists(st.binary(min_size=1, max_size=5), max_size=8))
def test_a_body_is_read_as_it_was_fed(pieces: list[bytes]) -> None:
    async def scenario() -> None:
        body = Body()
        reader = asyncio.ensure_future(read_all(body))
        for piece in pieces:
            body.feed(piece)
            await asyncio.sleep(0)
        body.finish()
        assert await reader == b"".join(pieces)

    asyncio.run(scenario())


def test_a_look_at_a_body_leaves_it_to_be_read() -> None:
    body = Body()
    body.feed(b"one")
    assert body.look() is None
    body.feed(b" two")
    body.finish()
    assert body.look() == body.look() == b"one two"
    assert body.whole() == b"one two"
    assert body.look() == b""
    failed = Body()
    failed.fail(ValueError())
    assert failed.look() is None


async def test_a_full_body_stops_its_feeder_until_it_is_read() -> None:
    feeder = Feeder()
    body = Body(feeder)
    body.feed(b"x" * HIGH_WATER_BYTES)
    assert feeder.told == []
    body.feed(b"x")
    assert feeder.told == ["pause"]
    assert len(await body.read()) == HIGH_WATER_BYTES + 1
    assert feeder.told == ["pause", "resume"]


async def test_a_body_that_ends_while_its_feeder_is_stopped_lets_it_go_on() -> None:
    """Or the connection would come back to its pool deaf, and the next reply never be heard."""
    feeder = Feeder()
    body = Body(feeder)
    body.feed(b"x" * (HIGH_WATER_BYTES + 1))
    body.finish()
    assert feeder.told == ["pause", "resume"]
    assert len(await body.read()) == HIGH_WATER_BYTES + 1
    assert feeder.told == ["pause", "resume"]


async def test_a_failed_body_gives_what_came_and_then_the_failure() -> None:
    body = Body()
    body.feed(b"half")
    body.fail(ConnectionResetError("cut"))
    assert body.whole() is None
    assert await body.read() == b"half"
    with pytest.raises(ConnectionResetError):
        await body.read()


async def test_when_done_tells_how_it_ended() -> None:
    ends: list[tuple[str, bool]] = []
    complete, failed, dropped = Body(), Body(), Body(Feeder())
    complete.when_done(lambda well: ends.append(("complete", well)))
    failed.when_done(lambda well: ends.append(("failed", well)))
    dropped.when_done(lambda well: ends.append(("dropped", well)))
    complete.finish()
    failed.fail(ValueError())
    dropped.discard()
    complete.when_done(lambda well: ends.append(("late", well)))
    assert ends == [("complete", True), ("failed", False), ("dropped", False), ("late", True)]


def test_discarding_tells_the_feeder_only_while_more_would_come() -> None:
    feeder = Feeder()
    body = Body(feeder)
    body.feed(b"x")
    body.finish()
    body.discard()
    assert feeder.told == []
    open_body = Body(feeder)
    open_body.discard()
    open_body.feed(b"late")
    assert feeder.told == ["abandon"]
    assert open_body.done


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=8),
    reads=st.lists(st.integers(0, 8), min_size=1, max_size=4),
    keep_bytes=st.integers(0, 60),
)
def test_every_attempt_sends_the_whole_body_while_it_is_replayable(
    pieces: list[bytes], reads: list[int], keep_bytes: int
) -> None:
    """Attempts that stop after some reads, over a body that arrives piece by piece."""

    async def scenario() -> None:
        source = Body()
        body = ReplayBody(source, keep_bytes)
        waiting = list(pieces)

        async def read() -> bytes:
            if waiting:
                source.feed(waiting.pop(0))
            elif not source.done:
                source.finish()
            return await body.read()

        for count in reads:
            if not body.replayable:
                break
            body.rewind()
            seen = b""
            for _ in range(count):
                seen += await read()
            assert b"".join(pieces).startswith(seen)
        if body.replayable:
            body.rewind()
            seen = b""
            while piece := await read():
                seen += piece
            assert seen == b"".join(pieces)
        assert body.replayable or sum(map(len, pieces)) > keep_bytes

    asyncio.run(scenario())


@given(
    kept=st.lists(st.binary(min_size=1, max_size=6), max_size=4),
    fresh=st.lists(st.binary(min_size=1, max_size=6), max_size=4),
)
def test_ready_gives_what_is_there_and_never_waits(kept: list[bytes], fresh: list[bytes]) -> None:
    source = Body()
    body = ReplayBody(source)
    for piece in kept:
        source.feed(piece)
        assert body.ready() == piece
    assert body.ready() == b""
    for piece in fresh:
        source.feed(piece)
    body.rewind()
    assert [body.ready() for _ in kept] == kept
    assert (body.ready(), body.ready()) == (b"".join(fresh), b"")
    source.finish()
    assert (source.ready(), ReplayBody(None).ready()) == (b"", b"")


@given(st.lists(st.binary(min_size=1, max_size=6), max_size=6), st.integers(0, 20), st.integers(0, 3))
def test_whole_gives_what_reading_would(pieces: list[bytes], keep_bytes: int, reads: int) -> None:
    async def scenario() -> None:
        source = Body()
        body = ReplayBody(source, keep_bytes)
        seen = b""
        for piece in pieces[:reads]:
            source.feed(piece)
            seen += await body.read()
        assert not pieces or body.whole() is None
        for piece in pieces[reads:]:
            source.feed(piece)
        source.finish()
        if body.replayable:
            body.rewind()
            assert body.whole() == b"".join(pieces)
        else:
            assert seen + (body.whole() or b"") == b"".join(pieces)

    asyncio.run(scenario())


def test_no_body_is_not_an_empty_one() -> None:
    assert ReplayBody(None).empty
    assert ReplayBody(None).whole() == b""
    assert not ReplayBody(Body.of(b"")).empty
