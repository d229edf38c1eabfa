"""What the cache may not do: grow, keep what is too large or cut short, or hold up what passes through it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.menu import chunk, head_of, raw, reply, serve
from tests.providers import Answer, Connection, Request
from tests.wire.client import eventually
from tests.wire.daemon import Served, Sidecar

CACHE = {"store": "private"}
FRESH = b"Cache-Control: max-age=600"
MIB = 1024 * 1024


def is_kept(served: Served, path: str = "/") -> bool:
    """Whether a second call is answered without the provider."""
    served.get(path)
    asked = len(served.requests)
    served.get(path)
    return len(served.requests) == asked


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_a_huge_reply_marked_cacheable_streams_through(sidecar: Sidecar, chunked: bool) -> None:
    """4 GiB by its length, of which 384 MiB are read: enough to show any growth, and no more, to spare CI the rest."""
    piece, read_bytes = b"." * (256 * 1024), 384 * MIB
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (4096 * MIB)
    data = chunk(piece) if chunked else piece

    async def pour(connection: Connection, _request: Request) -> None:
        await connection.send(head_of(200, FRESH, framing))
        for _ in range(4096 * MIB // len(piece)):
            await connection.send(data)

    served = sidecar.provider(serve(pour), cache=CACHE)
    before_bytes = most_bytes = sidecar.rss_bytes
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        said = client.head().cache_status
        assert said is not None
        assert chunked or "stored" not in said, "its length tells that it is too large"
        buffer, got = bytearray(MIB), 0
        while got < read_bytes:
            taken = client.sock.recv_into(buffer)
            assert taken, "it broke off"
            if got // (16 * MIB) != (got + taken) // (16 * MIB):
                most_bytes = max(most_bytes, sidecar.rss_bytes)
            got += taken
    assert eventually(served.provider.connections[0].ended.is_set), "the provider is told that nobody reads"
    assert most_bytes - before_bytes <= 6 * MIB


def test_the_largest_that_is_kept(sidecar: Sidecar) -> None:
    async def by_target(connection: Connection, request: Request) -> None:
        size = int(request.target[2:])
        body = b"." * size
        answer = reply(200, body, FRESH)
        if request.target.startswith(b"/c"):
            answer = raw(head_of(200, FRESH, b"Transfer-Encoding: chunked") + chunk(body) + b"0\r\n\r\n")
        await answer(connection, request)

    served = sidecar.provider(serve(by_target), cache=CACHE | {"max_entry": "64KiB"})
    for form in "cl":
        assert is_kept(served, f"/{form}65536")
        assert not is_kept(served, f"/{form}65537")


CUT: list[Answer] = [
    raw(head_of(200, FRESH, b"Content-Length: 100") + b"half", close=True),
    raw(head_of(200, FRESH, b"Transfer-Encoding: chunked") + chunk(b"half"), close=True),
    raw(head_of(200, FRESH, b"Transfer-Encoding: chunked") + chunk(b"half") + b"zz\r\n", close=True),
]


@pytest.mark.parametrize("cut", CUT, ids=["length", "chunks", "bad-chunk"])
def test_what_is_cut_short_is_never_kept(sidecar: Sidecar, cut: Answer) -> None:
    served = sidecar.provider(serve(cut, reply(200, b"whole", FRESH)), cache=CACHE | {"stale": "1h"})
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        response = client.response()
    assert response.status == 502 or not response.complete
    assert served.get().body == b"whole"
    assert served.get().body == b"whole"
    assert len(served.requests) == 2


def test_an_application_that_leaves_in_the_middle_leaves_nothing_cut(sidecar: Sidecar) -> None:
    body = b"." * 800_000
    served = sidecar.provider(serve(reply(200, body, FRESH)), cache=CACHE)
    with sidecar.connect(receive_bytes=4096) as client:
        client.send(served.message("GET", "/"))
        assert client.head().status == 200
        client.reset()
    assert {served.get().body for _ in range(2)} == {body}


@pytest.mark.parametrize("directive", [b"no-cache", b"max-age=600"])
def test_a_stream_of_events_ends_with_its_reader(sidecar: Sidecar, directive: bytes) -> None:
    """It has no end that could be waited for, and the provider may do work for each event."""

    async def events(connection: Connection, _request: Request) -> None:
        fields = b"Content-Type: text/event-stream", b"Cache-Control: " + directive, b"Transfer-Encoding: chunked"
        await connection.send(head_of(200, *fields))
        while True:
            await connection.send(chunk(b"data: 1\n\n"))
            await asyncio.sleep(0.01)

    served = sidecar.provider(serve(events), cache=CACHE | {"stale": "1h"})
    with sidecar.connect() as client:
        client.send(served.message("GET", "/events"))
        assert client.head().status == 200
        assert client.chunk()
    assert eventually(served.provider.connections[0].ended.is_set)


def test_memory_stays_within_its_bound(run_sidecar: Callable[..., Sidecar]) -> None:
    """40 MiB of replies through a cache of 4 MiB, without a disk behind it."""
    sidecar = run_sidecar("--cache-memory", "4MiB", "--cache-disk", "off")
    served = sidecar.provider(serve(reply(200, b"." * 20_000, FRESH)), cache=CACHE)
    with sidecar.connect() as client:

        def ask(first: int, last: int) -> None:
            for number in range(first, last):
                client.send(served.message("GET", f"/{number}"))
                assert len(client.response().body) == 20_000

        ask(0, 400)
        before_bytes = sidecar.rss_bytes
        ask(400, 2000)
    assert sidecar.rss_bytes - before_bytes <= 4 * MIB
    status, document = sidecar.admin("GET", "/cache")
    assert status == 200
    memory = next(store for store in document["stores"] if store["tier"] == "memory")
    assert 0 < memory["size_bytes"] <= 4 * MIB
    assert memory["entries"] < 220


def test_what_is_kept_does_not_hold_up_what_is_not(sidecar: Sidecar) -> None:
    """A connection is good for more after each kind of answer: kept, from memory, refused, passed by."""
    served = sidecar.provider(serve(reply(200, b"kept", FRESH)), cache=CACHE)
    with sidecar.connect() as client:
        client.send(
            served.message("GET", "/a"),
            served.message("GET", "/a"),
            served.message("GET", "/b", b"Cache-Control: only-if-cached"),
            served.message("POST", "/a", body=b"x"),
            served.message("GET", "/a"),
        )
        assert [client.response().status for _ in range(5)] == [200, 200, 504, 200, 200]
    assert [request.method for request in served.requests] == [b"GET", b"POST", b"GET"]
    assert len(served.provider.connections) == 1
