"""What a scripted provider can do: answers to one request, and scripts for one connection made of them."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Sequence

from tests.providers import Answer, Connection, Gate, Request, Script

PHRASES = {status.value: status.phrase.encode() for status in http.HTTPStatus}

# Answers: what to do with one request.


def head_of(status: int, *fields: bytes, phrase: bytes | None = None, version: bytes = b"1.1") -> bytes:
    """A reply's head with its empty line; each field is a whole line without its end."""
    if phrase is None:
        phrase = PHRASES.get(status, b"Odd")
    return b"\r\n".join([b"HTTP/%b %d %b" % (version, status, phrase), *fields, b"", b""])


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def reply(status: int = 200, body: bytes = b"", *fields: bytes) -> Answer:
    """A reply framed by length; to HEAD, its head alone."""
    bodyless = status in {204, 304}
    length = () if bodyless else (b"Content-Length: %d" % len(body),)
    head = head_of(status, *fields, *length)

    async def answer(connection: Connection, request: Request) -> None:
        await connection.send(head if bodyless or request.method == b"HEAD" else head + body)

    return answer


def raw(data: bytes, *, close: bool = False) -> Answer:
    """These very bytes, and the end of the connection if asked."""

    async def answer(connection: Connection, _request: Request) -> None:
        await connection.send(data)
        if close:
            connection.close()

    return answer


def chunked(*pieces: bytes, trailers: Sequence[bytes] = (), fields: Sequence[bytes] = ()) -> Answer:
    data = head_of(200, *fields, b"Transfer-Encoding: chunked") + b"".join(map(chunk, pieces))
    return raw(b"\r\n".join([data + b"0", *trailers, b"", b""]))


def until_close(body: bytes, *fields: bytes) -> Answer:
    return raw(head_of(200, *fields) + body, close=True)


def drip(*pieces: bytes, gate: Gate, fields: Sequence[bytes] = (b"Content-Type: text/event-stream",)) -> Answer:
    """Chunks: the first at once, the others and the end when the gate opens."""

    async def answer(connection: Connection, _request: Request) -> None:
        await connection.send(head_of(200, *fields, b"Transfer-Encoding: chunked") + chunk(pieces[0]))
        await gate.passed()
        await connection.send(b"".join(map(chunk, pieces[1:])) + b"0\r\n\r\n")

    return answer


def interim(status: int, *fields: bytes, then: Answer) -> Answer:
    async def answer(connection: Connection, request: Request) -> None:
        await connection.send(head_of(status, *fields))
        await then(connection, request)

    return answer


def after(gate: Gate, then: Answer) -> Answer:
    """The answer, once the gate is open."""

    async def answer(connection: Connection, request: Request) -> None:
        await gate.passed()
        await then(connection, request)

    return answer


def late(delay_s: float, then: Answer) -> Answer:
    async def answer(connection: Connection, request: Request) -> None:
        await asyncio.sleep(delay_s)
        await then(connection, request)

    return answer


async def name_target(connection: Connection, request: Request) -> None:
    """200 with the request's target as its body."""
    await reply(200, request.target)(connection, request)


def echo() -> Answer:
    """200 with the request's own body."""

    async def answer(connection: Connection, request: Request) -> None:
        await connection.send(head_of(200, b"Content-Length: %d" % len(request.body)) + request.body)

    return answer


async def stall(connection: Connection, _request: Request | None = None) -> None:
    """Never answer; end when the peer does. Serves as a script, too: then not even TLS is spoken."""
    await connection.until_ended()


async def hang_up(connection: Connection, _request: Request) -> None:
    """Close instead of replying."""
    connection.close()


async def reset(connection: Connection, _request: Request) -> None:
    """RST instead of a reply."""
    connection.reset()


# Scripts: what to do with one connection.


def serve(*answers: Answer) -> Script:
    """Answer requests with keep-alive: the nth of the provider's with the nth answer, all later ones with the last."""
    asked = 0

    async def script(connection: Connection) -> None:
        nonlocal asked
        while (request := await connection.request()) is not None:
            asked += 1
            await answers[min(asked, len(answers)) - 1](connection, request)
            if connection.writer.is_closing():
                return

    return script


def by_connection(*scripts: Script) -> Script:
    """The nth connection runs the nth script, all later ones the last."""

    async def script(connection: Connection) -> None:
        await scripts[min(connection.number, len(scripts)) - 1](connection)

    return script


def serve_then(count: int, last: Answer) -> Script:
    """Answer `count` requests well and keep the connection; then do `last` to the next."""

    async def script(connection: Connection) -> None:
        for _ in range(count):
            request = await connection.request()
            if request is None:
                return
            await reply(200, b"well", b"Connection: keep-alive")(connection, request)
        request = await connection.request()
        if request is not None:
            await last(connection, request)

    return script


def answer_early(answer: Answer, *, close: bool) -> Script:
    """Answer as soon as the head is there, the body unread; then close, or read on."""

    async def script(connection: Connection) -> None:
        request = await connection.head()
        if request is None:
            return
        await answer(connection, request)
        if not close:
            await connection.until_ended()

    return script


def upgrade_echo(protocol: bytes = b"websocket") -> Script:
    """101 and a greeting in one segment, then every byte back as it came, until the peer's end."""

    async def script(connection: Connection) -> None:
        if await connection.request() is None:
            return
        await connection.send(head_of(101, b"Upgrade: " + protocol, b"Connection: Upgrade") + b"welcome")
        while data := await connection.reader.read(65536):
            await connection.send(data)

    return script
