"""How an application's connection writes its answers: over a transport that takes notes."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.clock import LoopClock
from sidecar.http1.answer import Answer
from sidecar.http1.limits import ServerLimits
from sidecar.http1.message import Body, Headers
from sidecar.http1.request import Request
from sidecar.http1.server import Server
from sidecar.http1.server_connection import ServerConnection
from tests.fakes import turn_loop
from tests.http1.gatehouse import refuse

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Notes:
    """A transport."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


def asked(notes: Notes, body: Body, *, chunked: bool = False, paused: bool = False) -> ServerConnection:
    """A connection that has been asked for a reply of that body; `paused`: whose client reads nothing."""

    async def handle(connection: ServerConnection, request: Request) -> Answer:
        return Answer(200, b"OK", Headers([] if chunked else [(b"Content-Length", b"9")]), body=body)

    connection = ServerConnection(Server(handle, refuse, ServerLimits(), LoopClock()))
    connection.connection_made(notes)
    if paused:
        connection.pause_writing()
    connection.data_received(ASK)
    return connection


@pytest.mark.parametrize(
    ("chunked", "writes"),
    [(False, [HEAD + b"half", b"other"]), (True, [CHUNKED + b"4\r\nhalf\r\n", b"5\r\nother\r\n", b"0\r\n\r\n"])],
)
async def test_a_head_goes_out_with_what_has_come_of_the_body(chunked: bool, writes: list[bytes]) -> None:
    notes, body = Notes(), Body()
    body.feed(b"half")
    asked(notes, body, chunked=chunked)
    assert notes.writes == writes[:1]
    body.feed(b"other")
    body.finish()
    await turn_loop()
    assert notes.writes == writes


async def test_a_head_does_not_wait_for_a_body() -> None:
    notes, body = Notes(), Body()
    asked(notes, body)
    assert notes.writes == [HEAD]
    body.discard()


async def test_a_client_that_takes_no_more_than_the_beginning_stops_the_body() -> None:
    notes, body = Notes(), Body()
    body.feed(b"half")
    connection = asked(notes, body, paused=True)
    body.feed(b"other")
    await turn_loop()
    assert notes.writes == [HEAD + b"half"]
    connection.resume_writing()
    body.finish()
    await turn_loop()
    assert notes.writes == [HEAD + b"half", b"other"]


async def test_a_body_that_breaks_off_is_cut_short_behind_what_came() -> None:
    notes, body = Notes(), Body()
    body.feed(b"half")
    body.fail(ConnectionError("gone"))
    asked(notes, body)
    await turn_loop()
    assert (notes.writes, notes.closing) == ([HEAD + b"half"], True)
