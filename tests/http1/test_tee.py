import pytest

from sidecar.http1.message import Body
from sidecar.http1.tee import Tee


class Feeder:
    """Counts what a body asks of whoever feeds it."""

    def __init__(self) -> None:
        self.held = False
        self.abandoned = False

    def pause_reading(self) -> None:
        self.held = True

    def resume_reading(self) -> None:
        self.held = False

    def abandon(self) -> None:
        self.abandoned = True


class Kept:
    """What `on_end` was told."""

    def __init__(self) -> None:
        self.told: list[bytes | None] = []

    def __call__(self, whole: bytes | None) -> None:
        self.told.append(whole)


def make_tee(keep_bytes: int = 100) -> tuple[Feeder, Body, Tee, Kept]:
    feeder, kept = Feeder(), Kept()
    source = Body(feeder)
    return feeder, source, Tee(source, keep_bytes, kept), kept


async def read_all(body: Body) -> bytes:
    data = b""
    while piece := await body.read():
        data += piece
    return data


async def test_every_reader_gets_everything_and_so_does_the_keeper() -> None:
    _, source, tee, kept = make_tee()
    source.feed(b"before ")
    first = tee.reader()
    tee.start()
    source.feed(b"between ")
    second = tee.reader()
    source.feed(b"after")
    source.finish()
    assert await read_all(first) == await read_all(second) == b"before between after"
    assert kept.told == [b"before between after"]


async def test_pieces_come_as_they_are_fed() -> None:
    _, source, tee, _ = make_tee()
    reader = tee.reader()
    tee.start()
    source.feed(b"one")
    assert await reader.read() == b"one"
    source.feed(b"two")
    assert await reader.read() == b"two"
    assert not reader.done


async def test_a_body_that_breaks_off_is_not_kept_and_its_readers_are_told() -> None:
    _, source, tee, kept = make_tee()
    reader = tee.reader()
    tee.start()
    source.feed(b"half")
    source.fail(ConnectionError("cut"))
    assert await reader.read() == b"half"
    with pytest.raises(ConnectionError, match="cut"):
        await reader.read()
    assert kept.told == [None]


async def test_what_grows_too_large_is_not_kept_and_goes_on() -> None:
    _, source, tee, kept = make_tee(keep_bytes=4)
    reader = tee.reader()
    tee.start()
    source.feed(b"12345")
    assert (kept.told, tee.keeps) == ([None], False)
    source.feed(b"678")
    source.finish()
    assert await read_all(reader) == b"12345678"
    assert kept.told == [None]


async def test_while_it_is_kept_nobody_is_waited_for_and_then_the_slowest_sets_the_pace() -> None:
    feeder, source, tee, _ = make_tee(keep_bytes=300_000)
    slow, quick = tee.reader(), tee.reader()
    tee.start()
    source.feed(b"x" * 200_000)
    assert not feeder.held
    source.feed(b"x" * 200_000)
    assert feeder.held
    await quick.read()
    assert feeder.held, "the other has not read"
    await slow.read()
    assert not feeder.held


async def test_a_reader_that_leaves_does_not_hold_up_the_others() -> None:
    feeder, source, tee, _ = make_tee(keep_bytes=10)
    stuck, other = tee.reader(), tee.reader()
    tee.start()
    source.feed(b"x" * 200_000)
    await other.read()
    assert feeder.held
    stuck.discard()
    assert not feeder.held


async def test_what_is_kept_is_read_to_its_end_though_all_readers_left() -> None:
    feeder, source, tee, kept = make_tee()
    tee.reader().discard()
    tee.start()
    source.feed(b"all ")
    source.feed(b"the same")
    source.finish()
    assert (kept.told, feeder.abandoned) == ([b"all the same"], False)


async def test_what_may_never_end_is_given_up_with_its_last_reader() -> None:
    feeder, kept = Feeder(), Kept()
    source = Body(feeder)
    tee = Tee(source, 100, kept, endless=True)
    first, second = tee.reader(), tee.reader()
    tee.start()
    source.feed(b"event")
    first.discard()
    assert not source.done
    second.discard()
    assert (source.done, feeder.abandoned, kept.told) == (True, True, [None])


async def test_what_is_not_kept_is_given_up_once_nobody_reads() -> None:
    feeder, source, tee, _ = make_tee(keep_bytes=3)
    reader = tee.reader()
    tee.start()
    source.feed(b"four")
    reader.discard()
    assert feeder.abandoned
    assert source.done


async def test_trailers_reach_every_reader() -> None:
    _, source, tee, _ = make_tee()
    first, second = tee.reader(), tee.reader()
    tee.start()
    source.trailers = [(b"Digest", b"x")]
    source.finish()
    assert first.trailers == second.trailers == [(b"Digest", b"x")]
