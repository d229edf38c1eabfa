"""What a connection to a provider writes, and when it stops reading: over a transport that takes notes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http1.connection import Exchange, ProviderConnection, begun
from sidecar.http1.drive import Drive
from sidecar.http1.limits import HeadLimits
from sidecar.http1.message import HIGH_WATER_BYTES, Body, ReplayBody
from tests.fakes import FakeClock, turn_loop

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
LARGE = b"x" * (HIGH_WATER_BYTES + 1)


class Notes:
    """A transport, and the pool."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.reading: list[bool] = []
        """Each time that it was told to stop or to go on."""
        self.closing = False
        self.idle = 0
        self.gone = 0

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def pause_reading(self) -> None:
        self.reading.append(False)

    def resume_reading(self) -> None:
        self.reading.append(True)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def on_idle(self, connection: ProviderConnection) -> None:
        self.idle += 1

    def on_gone(self, connection: ProviderConnection) -> None:
        self.gone += 1


def connect(notes: Notes) -> ProviderConnection:
    loop = asyncio.get_running_loop()
    connection = ProviderConnection(notes, HeadLimits(), 0, None, loop, FakeClock())
    connection.connection_made(notes)  # type: ignore[arg-type]
    return connection


def post(source: Body, *, chunked: bool = False) -> Exchange:
    return Exchange(HEAD, ReplayBody(source), chunked, 0, 1010.0, 2.0, 60.0, False, False, False, None)


@pytest.mark.parametrize(("chunked", "first"), [(False, b"first"), (True, b"5\r\nfirst\r\n")])
async def test_a_head_goes_out_with_what_has_come_of_the_body(chunked: bool, first: bytes) -> None:
    notes, source = Notes(), Body()
    source.feed(b"first")
    connect(notes).begin(post(source, chunked=chunked))
    assert notes.writes == [HEAD + first]
    source.finish()
    await turn_loop()
    assert notes.writes[1:] == ([b"0\r\n\r\n"] if chunked else [])


async def test_a_head_does_not_wait_for_a_body() -> None:
    notes, source = Notes(), Body()
    connect(notes).begin(post(source))
    assert notes.writes == [HEAD]
    source.feed(b"later")
    await turn_loop()
    assert notes.writes == [HEAD, b"later"]


async def test_a_socket_that_takes_no_more_than_the_beginning_stops_the_body() -> None:
    notes, source = Notes(), Body()
    source.feed(b"first")
    connection = connect(notes)
    connection.pause_writing()
    connection.begin(post(source))
    source.feed(b"second")
    await turn_loop()
    assert notes.writes == [HEAD + b"first"]
    connection.resume_writing()
    await turn_loop()
    assert notes.writes == [HEAD + b"first", b"second"]


async def test_a_body_that_has_failed_already_fails_the_call() -> None:
    notes, source = Notes(), Body()
    source.feed(b"first")
    source.fail(ConnectionError("gone"))
    with pytest.raises(ConnectionError, match="gone"):
        await connect(notes).begin(post(source))
    assert (notes.closing, notes.gone) == (True, 1)


async def test_a_connection_is_used_again_once_the_request_is_sent() -> None:
    notes, source = Notes(), Body()
    connection = connect(notes)
    reply = connection.begin(post(source))
    source.finish()
    await turn_loop()
    connection.data_received(REPLY % 0)
    assert (await reply).status == 200
    assert (notes.idle, notes.gone) == (1, 0)


async def test_a_reply_before_the_end_of_the_request_spoils_the_connection() -> None:
    notes, source = Notes(), Body()
    connection = connect(notes)
    reply = connection.begin(post(source))
    connection.data_received(REPLY % 0)
    assert (await reply).status == 200
    source.feed(b"late")
    await turn_loop()
    assert (notes.writes, notes.idle, notes.gone) == ([HEAD], 0, 1)


async def test_a_reply_that_nobody_has_taken_stops_the_provider() -> None:
    notes = Notes()
    connection = connect(notes)
    reply = connection.begin(post(Body.of(b"")))
    connection.data_received(REPLY % (2 * len(LARGE)) + LARGE)
    assert (notes.reading, connection.reading_paused) == ([False], True)
    assert await (await reply).body.read() == LARGE
    assert (notes.reading, connection.reading_paused) == ([False, True], False)


async def test_a_reply_that_is_taken_as_it_comes_does_not() -> None:
    notes = Notes()
    taken: list[bytes] = []
    connection = connect(notes)
    reply = connection.begin(post(Body.of(b"")))

    async def take() -> None:
        body = (await reply).body
        taken.append(await body.read())

    Drive(take(), lambda: None, asyncio.get_running_loop())
    connection.data_received(REPLY % (2 * len(LARGE)) + LARGE)
    assert (taken, notes.reading) == ([LARGE], [])
    connection.data_received(LARGE)
    assert (connection.reading_paused, notes.reading) == (False, [])


async def test_what_was_stopped_goes_on_when_a_read_that_still_came_is_taken() -> None:
    notes = Notes()
    taken: list[bytes] = []
    connection = connect(notes)
    reply = connection.begin(post(Body.of(b"")))

    async def take() -> None:
        taken.append(await (await reply).body.read())

    Drive(take(), lambda: None, asyncio.get_running_loop())
    connection.pause_reading()
    connection.data_received(REPLY % (2 * len(LARGE)) + LARGE)
    assert (taken, connection.reading_paused, notes.reading) == ([LARGE], False, [False, True])


@given(head=st.binary(min_size=1), first=st.binary(), chunked=st.booleans())
def test_a_beginning_is_the_head_and_what_there_is(head: bytes, first: bytes, chunked: bool) -> None:
    whole = begun(head, first, chunked)
    assert whole.startswith(head)
    size, _, chunk = whole[len(head) :].partition(b"\r\n") if chunked and first else (b"", b"", b"")
    assert whole[len(head) :] == first if not chunk else (int(size, 16), chunk) == (len(first), first + b"\r\n")
