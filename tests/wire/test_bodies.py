"""Bodies both ways: by length, in chunks, until close, none at all; as they come, and no faster than read."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable

import pytest

from tests.menu import chunk, chunked, drip, echo, head_of, raw, reply, serve, stall, until_close
from tests.providers import Answer, Connection, Gate
from tests.wire.client import eventually
from tests.wire.daemon import Sidecar

MIB = 1024 * 1024


def test_request_body_by_length(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    assert served.call("POST", "/", body=b"x" * 300_000).body == b"x" * 300_000
    assert served.requests[0].all(b"content-length") == [b"300000"]


def test_request_body_of_length_zero_stays_one(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    assert served.call("POST", "/", body=b"").status == 200
    assert served.requests[0].all(b"content-length") == [b"0"]


def test_request_without_a_body_gets_none(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    assert served.call("DELETE", "/x").status == 200
    request = served.requests[0]
    assert request.all(b"transfer-encoding") == []
    assert request.all(b"content-length") in ([], [b"0"])


def test_get_may_have_a_body(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    assert served.call("GET", "/", body=b"query").body == b"query"


def test_request_body_in_chunks_with_trailers(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    lines = (b"Transfer-Encoding: chunked", b"Trailer: X-Sum")
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", *lines), chunk(b"one"), chunk(b"two"), b"0\r\nX-Sum: 12\r\n\r\n")
        assert client.response().body == b"onetwo"
    (request,) = served.requests
    assert request.all(b"transfer-encoding") == [b"chunked"]
    assert request.all(b"content-length") == []
    assert request.trailers == [(b"X-Sum", b"12")]


def test_chunk_extensions_are_dropped(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Transfer-Encoding: chunked"), b'3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n')
        assert client.response().body == b"abc"
    assert b"a=b" not in served.provider.connections[0].received


def test_reply_by_length(sidecar: Sidecar) -> None:
    response = sidecar.provider(serve(reply(200, b"y" * 300_000))).get()
    assert (response.body, response.framing) == (b"y" * 300_000, "length")


def test_reply_in_chunks_with_trailers(sidecar: Sidecar) -> None:
    answer = chunked(b"one", b"two", trailers=[b"X-Sum: 12", b"x-sum: 13"], fields=[b"Trailer: X-Sum"])
    response = sidecar.provider(serve(answer)).get()
    assert (response.body, response.framing) == (b"onetwo", "chunked")
    assert response.trailers == [(b"X-Sum", b"12"), (b"x-sum", b"13")]


def test_reply_of_nothing_but_the_last_chunk(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(chunked()))
    with sidecar.connect() as client:
        for _ in range(2):
            client.send(served.message("GET", "/"))
            assert client.response().body == b""
    assert len(served.provider.connections) == 1


def test_reply_until_close_becomes_chunks(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(until_close(b"z" * 70_000)))
    with sidecar.connect() as client:
        for _ in range(2):
            client.send(served.message("GET", "/"))
            response = client.response()
            assert (response.body, response.framing, response.complete) == (b"z" * 70_000, "chunked", True)
    assert len(served.provider.connections) == 2


def test_reply_of_http_10_until_close(sidecar: Sidecar) -> None:
    response = sidecar.provider(serve(raw(b"HTTP/1.0 200 OK\r\n\r\nold", close=True))).get()
    assert (response.status, response.body) == (200, b"old")


def test_encoded_body_passes_as_it_came(sidecar: Sidecar) -> None:
    body = gzip.compress(b"hello" * 100)
    response = sidecar.provider(serve(reply(200, body, b"Content-Encoding: gzip"))).get("/", b"Accept-Encoding: gzip")
    assert response.body == body
    assert response.one(b"content-encoding") == b"gzip"


NO_BODY = [
    ("HEAD", raw(head_of(200, b"Content-Length: 1234")), [b"1234"]),
    ("HEAD", raw(head_of(200, b"Transfer-Encoding: chunked")), []),
    ("HEAD", raw(head_of(404, b"Content-Length: 9")), [b"9"]),
    ("GET", raw(head_of(204)), []),
    ("GET", raw(head_of(304, b"ETag: x", b"Content-Length: 77")), [b"77"]),
    ("GET", raw(head_of(304)), []),
]


@pytest.mark.parametrize(
    ("method", "answer", "length"), NO_BODY, ids=["head", "head-chunked", "head-404", "204", "304-length", "304"]
)
def test_replies_without_a_body_end_with_their_head(
    sidecar: Sidecar, method: str, answer: Answer, length: list[bytes]
) -> None:
    served = sidecar.provider(serve(answer, reply(200, b"next")))
    with sidecar.connect() as client:
        client.send(served.message(method, "/"), served.message("GET", "/"))
        response = client.response(method)
        assert response.all(b"content-length") == length
        assert client.response().body == b"next"
    assert len(served.provider.connections) == 1, "the provider's connection was good for more"


def test_first_event_goes_on_at_once(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(drip(b"data: 1\n\n", b"data: 2\n\n", gate=gate)), tls=True)
    with sidecar.connect() as client:
        client.send(served.message("GET", "/events"))
        assert client.head().one(b"content-type") == b"text/event-stream"
        assert client.chunk() == b"data: 1\n\n"
        gate.open()
        assert client.chunk() == b"data: 2\n\n"
        assert client.chunk() == b""


def test_a_reply_head_goes_on_before_its_body(sidecar: Sidecar) -> None:
    gate = Gate()

    async def slow_body(connection: Connection) -> None:
        await connection.request()
        await connection.send(head_of(200, b"Content-Length: 2"))
        await gate.passed()
        await connection.send(b"ok")

    served = sidecar.provider(slow_body)
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        assert client.head().status == 200
        gate.open()
        assert client.exactly(2) == b"ok"


def test_a_request_body_goes_on_as_it_comes(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Content-Length: 8"), b"half")
        eventually(lambda: served.provider.connections and served.provider.connections[0].received.endswith(b"half"))
        client.send(b"more")
        assert client.response().body == b"halfmore"


def test_request_chunks_go_on_as_they_come(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Transfer-Encoding: chunked"), chunk(b"first"))
        eventually(lambda: served.provider.connections and b"first" in served.provider.connections[0].received)
        client.send(chunk(b"second"), b"0\r\n\r\n")
        assert client.response().body == b"firstsecond"


# Backpressure: the slow side stops the fast one, and the daemon does not grow (PRODUCT §10).


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_slow_reader_stops_the_provider(sidecar: Sidecar, tls: bool) -> None:
    async def pour(connection: Connection) -> None:
        await connection.request()
        await connection.send(head_of(200, b"Content-Length: %d" % (64 * MIB)))
        for _ in range(1024):
            await connection.send(b"." * 65536)

    served = sidecar.provider(pour, tls=tls)
    before_bytes = sidecar.rss_bytes
    with sidecar.connect(receive_bytes=65536) as client:
        client.send(served.message("GET", "/"))
        assert client.head().status == 200
        connection = served.provider.connections[0]
        _until_still(lambda: connection.sent_bytes)
        assert connection.sent_bytes < 32 * MIB, "nobody read, and yet the provider could send"
        left_bytes, most_bytes = 64 * MIB, before_bytes
        while left_bytes:
            left_bytes -= len(client.exactly(min(left_bytes, MIB)))
            most_bytes = max(most_bytes, sidecar.rss_bytes)
    assert most_bytes - before_bytes <= 4 * MIB


def test_a_slow_provider_stops_the_sender(sidecar: Sidecar) -> None:
    gate = Gate()

    async def swallow_later(connection: Connection) -> None:
        request = await connection.head()
        connection.pause_reading()
        await gate.passed()
        connection.resume_reading()
        assert request is not None
        await connection.body(request)
        await reply(200, b"%d" % len(request.body))(connection, request)

    served = sidecar.provider(swallow_later)
    before_bytes = sidecar.rss_bytes
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Content-Length: %d" % (64 * MIB)))
        eventually(lambda: served.requests)
        client.sock.settimeout(0.3)
        sent_bytes = _send_until_stuck(client.sock.send, 64 * MIB)
        assert sent_bytes < 32 * MIB, "nobody read, and yet the daemon took it all"
        assert sidecar.rss_bytes - before_bytes <= 4 * MIB
        gate.open()
        client.sock.settimeout(20)
        client.send(b"." * (64 * MIB - sent_bytes))
        assert client.response().body == b"%d" % (64 * MIB)
    assert sidecar.rss_bytes - before_bytes <= 6 * MIB


def test_a_stuck_reader_does_not_stop_the_others(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"." * (8 * MIB))))
    other = sidecar.provider(serve(reply(200, b"ok")))
    with sidecar.connect(receive_bytes=4096) as stuck:
        stuck.send(served.message("GET", "/"))
        assert stuck.head().status == 200
        assert other.get().body == b"ok"


def test_a_reply_abandoned_by_its_reader_frees_the_provider(sidecar: Sidecar) -> None:
    async def pour_forever(connection: Connection) -> None:
        await connection.request()
        await connection.send(head_of(200, b"Transfer-Encoding: chunked"))
        while True:
            await connection.send(chunk(b"." * 1000))
            await asyncio.sleep(0.005)

    served = sidecar.provider(pour_forever)
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        assert client.head().status == 200
    assert eventually(served.provider.connections[0].ended.is_set)


def test_a_body_nobody_reads_does_not_stop_the_daemon(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(stall))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", body=b"x" * 1000))
        eventually(lambda: served.requests)
        client.reset()
    assert eventually(served.provider.connections[0].ended.is_set)


def _until_still(measure: Callable[[], int], for_s: float = 0.3) -> None:
    """Wait until a number has stopped growing for that long."""
    last = [-1]

    def still() -> bool:
        last.append(measure())
        return len(last) > 2 and last[-1] == last[-2] > 0

    eventually(still, within_s=10, every_s=for_s)


def _send_until_stuck(send: Callable[[bytes], int], most_bytes: int) -> int:
    piece, sent_bytes = b"." * 65536, 0
    while sent_bytes < most_bytes:
        try:
            sent_bytes += send(piece[: most_bytes - sent_bytes])
        except TimeoutError:
            break
    return sent_bytes
