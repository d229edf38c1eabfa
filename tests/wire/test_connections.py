"""Connections on both sides: keep-alive, pipelining, HTTP/1.0, closing, the pool."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.menu import after, chunked, echo, late, reply, serve, until_close
from tests.providers import Answer, Connection, Gate, Request
from tests.wire.client import eventually
from tests.wire.daemon import Sidecar

RunSidecar = Callable[..., Sidecar]


async def name_target(connection: Connection, request: Request) -> None:
    """200 with the request's target; the first path segment `slow` takes its time."""
    answer = reply(200, request.target)
    await (late(0.15, answer) if b"slow" in request.target else answer)(connection, request)


def test_two_requests_share_both_connections(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(name_target))
    with sidecar.connect() as client:
        for path in ("/a", "/b"):
            client.send(served.message("GET", path))
            assert client.response().body == path.encode()
    assert [request.target for request in served.provider.connections[0].requests] == [b"/a", b"/b"]
    assert len(served.provider.connections) == 1


def test_pipelined_requests_are_answered_in_order(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(name_target))
    paths = ["/slow/1", "/2", "/slow/3", "/4", "/5"]
    with sidecar.connect() as client:
        client.send(*(served.message("GET", path) for path in paths))
        assert [client.response().body.decode() for _ in paths] == paths


def test_a_request_pipelined_behind_a_body_is_told_from_it(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    chunks = served.message("POST", "/c", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n"
    with sidecar.connect() as client:
        client.send(
            served.message("POST", "/a", body=b"GET / HTTP/1.1\r\n"), chunks, served.message("PUT", "/d", body=b"last")
        )
        assert [client.response().body for _ in range(3)] == [b"GET / HTTP/1.1\r\n", b"abc", b"last"]


def test_pipelined_requests_arrive_a_byte_at_a_time(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    stream = served.message("POST", "/a", b"X-Padding: yes", body=b"one") + served.message("PUT", "/b", body=b"two")
    with sidecar.connect() as client:
        for byte in stream:
            client.send(bytes([byte]))
        assert [client.response().body, client.response().body] == [b"one", b"two"]


def test_pipelining_many_is_bounded_by_backpressure(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(name_target))
    with sidecar.connect() as client:
        client.send(*(served.message("GET", f"/{number}") for number in range(500)))
        assert [client.response().body for _ in range(500)] == [b"/%d" % number for number in range(500)]


def test_close_of_the_client_closes_its_side_alone(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(name_target))
    for _ in range(2):
        with sidecar.connect() as client:
            client.send(served.message("GET", "/", b"Connection: close"))
            response = client.response()
            assert response.status == 200
            assert b"close" in response.one(b"connection").lower()
            assert client.is_closed()
    assert len(served.provider.connections) == 1, "the pool lost a good connection"
    assert not any(request.all(b"connection") == [b"close"] for request in served.requests)


def test_requests_behind_a_close_are_not_served(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(name_target))
    with sidecar.connect() as client:
        client.send(served.message("GET", "/1", b"Connection: close"), served.message("GET", "/2"))
        assert client.response().body == b"/1"
        assert client.is_closed()
    assert [request.target for request in served.requests] == [b"/1"]


def test_close_of_the_provider_closes_its_side_alone(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"ok", b"Connection: close")))
    with sidecar.connect() as client:
        for _ in range(2):
            client.send(served.message("GET", "/"))
            response = client.response()
            assert (response.status, response.all(b"connection")) == (200, [])
    assert len(served.provider.connections) == 2
    assert all(eventually(connection.ended.is_set) for connection in served.provider.connections)


def test_empty_line_before_a_request_is_ignored(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(name_target))
    with sidecar.connect() as client:
        client.send(b"\r\n", served.message("GET", "/a"), b"\r\n", served.message("GET", "/b"))
        assert [client.response().body, client.response().body] == [b"/a", b"/b"]


# HTTP/1.0 clients (RFC 9112 9.3).


def test_http_10_without_keep_alive_is_closed_after_the_reply(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"ok")))
    with sidecar.connect() as client:
        client.send(served.message("GET", "/", version="1.0"))
        assert client.response().body == b"ok"
        assert client.is_closed()


def test_http_10_with_keep_alive_is_kept_and_told_so(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"ok")))
    with sidecar.connect() as client:
        for _ in range(2):
            client.send(served.message("GET", "/", b"Connection: keep-alive", version="1.0"))
            response = client.response()
            assert response.body == b"ok"
            assert response.one(b"connection").lower() == b"keep-alive"


@pytest.mark.parametrize(
    "answer", [chunked(b"one", b"two", trailers=[b"X-T: 1"]), until_close(b"onetwo")], ids=["chunked", "until-close"]
)
@pytest.mark.parametrize("lines", [(), (b"Connection: keep-alive",)], ids=["plain", "keep-alive"])
def test_http_10_gets_no_chunks(sidecar: Sidecar, answer: Answer, lines: tuple[bytes, ...]) -> None:
    served = sidecar.provider(serve(answer))
    with sidecar.connect() as client:
        client.send(served.message("GET", "/", *lines, version="1.0"))
        response = client.response()
        assert response.body == b"onetwo"
        assert response.framing in {"close", "length"}


def test_http_10_needs_no_host_in_reverse_form(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(name_target))
    response = sidecar.exchange(f"GET /{served.name}/x HTTP/1.0\r\n\r\n".encode())
    assert (response.status, response.body) == (200, b"/x")


def test_requests_go_upstream_as_http_11(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)))
    sidecar.exchange(served.message("GET", "/", version="1.0"))
    assert served.requests[0].line == b"GET / HTTP/1.1"


# The pool.


def test_concurrent_calls_open_connections_and_later_calls_reuse_them(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(after(gate, reply(200))))
    with ExitStack() as stack:
        clients = [stack.enter_context(sidecar.connect()) for _ in range(5)]
        for client in clients:
            client.send(served.message("GET", "/"))
        eventually(lambda: gate.waiting == 5)
        gate.open()
        assert [client.response().status for client in clients] == [200] * 5
    assert len(served.provider.connections) == 5
    for _ in range(5):
        served.get()
    assert len(served.provider.connections) == 5


def test_the_last_used_connection_is_used_first(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(after(gate, reply(200))))
    with sidecar.connect() as one, sidecar.connect() as two:
        one.send(served.message("GET", "/"))
        two.send(served.message("GET", "/"))
        eventually(lambda: gate.waiting == 2)
        gate.open()
        one.response()
        two.response()
    for _ in range(4):
        served.get()
    assert sorted(len(connection.requests) for connection in served.provider.connections) == [1, 5]


def test_providers_do_not_share_connections(sidecar: Sidecar) -> None:
    one = sidecar.provider(serve(reply(200, b"one")))
    two = sidecar.provider(serve(reply(200, b"two")))
    assert [one.get().body, two.get().body, one.get().body] == [b"one", b"two", b"one"]
    assert [len(one.provider.connections), len(two.provider.connections)] == [1, 1]


def test_credentials_do_not_share_connections(sidecar: Sidecar) -> None:
    """Some providers tie an identity to a connection (NTLM, mistaken load balancers)."""
    served = sidecar.provider(serve(reply(200)))
    for key in (b"one", b"two", b"one"):
        served.get("/", b"Authorization: Bearer " + key)
    for connection in served.provider.connections:
        assert len({value for request in connection.requests for value in request.all(b"authorization")}) == 1


def test_idle_connections_are_closed_after_their_time(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar("--pool-idle", "200ms")
    served = sidecar.provider(serve(reply(200)))
    served.get()
    assert eventually(served.provider.connections[0].ended.is_set, within_s=3)
    assert served.get().status == 200
    assert len(served.provider.connections) == 2


def test_the_provider_may_shorten_the_idle_time(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", b"Keep-Alive: timeout=1, max=100")))
    served.get()
    assert eventually(served.provider.connections[0].ended.is_set, within_s=3)
    assert served.get().status == 200


def test_a_full_pool_makes_calls_wait_their_turn(run_sidecar: RunSidecar) -> None:
    gate = Gate()
    sidecar = run_sidecar("--pool-size", "2")
    served = sidecar.provider(serve(after(gate, reply(200))))
    with ExitStack() as stack:
        clients = [stack.enter_context(sidecar.connect()) for _ in range(4)]
        for client in clients:
            client.send(served.message("GET", "/"))
        eventually(lambda: gate.waiting == 2)
        gate.open()
        assert [client.response().status for client in clients] == [200] * 4
    assert len(served.provider.connections) == 2
