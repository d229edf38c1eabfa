"""What a client may ask for: each limit's refusal is clear, and the daemon serves on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from time import monotonic

import pytest

from tests.menu import echo, late, reply, serve
from tests.providers import Connection
from tests.wire.client import Client, eventually
from tests.wire.daemon import Served, Sidecar

RunSidecar = Callable[..., Sidecar]


@pytest.fixture
def served(sidecar: Sidecar) -> Iterator[Served]:
    """A provider that must not see a refused request, and serves the next one."""
    served = sidecar.provider(serve(echo()))
    yield served
    assert served.provider.received_bytes == 0, served.provider.connections[0].received
    assert served.get("/after").status == 200


def _refused(client: Client, status: int, reason: str) -> None:
    response = client.response()
    assert (response.status, response.problem["reason"]) == (status, reason)
    assert response.proxy_error == "http_request_error"
    assert client.is_closed()


def test_request_line_too_long(served: Served) -> None:
    with served.sidecar.connect() as client:
        client.send(served.message("GET", "/" + "a" * 9000))
        _refused(client, 414, "target-too-long")


def test_request_line_without_end(served: Served) -> None:
    with served.sidecar.connect() as client:
        client.send(f"GET /{served.name}/".encode() + b"a" * 200_000)
        _refused(client, 414, "target-too-long")


def test_method_without_end(served: Served) -> None:
    with served.sidecar.connect() as client:
        client.send(b"A" * 200_000)
        assert client.response().status in {400, 414, 431, 501}
        assert client.is_closed()


def test_too_many_fields(served: Served) -> None:
    with served.sidecar.connect() as client:
        client.send(served.message("GET", "/", *(b"X-%d: 1" % number for number in range(200))))
        _refused(client, 431, "head-too-large")


def test_too_many_hop_by_hop_fields(served: Served) -> None:
    """Those that go no further count, too."""
    with served.sidecar.connect() as client:
        client.send(served.message("GET", "/", *(b"Connection: x-%d" % number for number in range(200))))
        _refused(client, 431, "head-too-large")


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "endless"])
def test_too_many_bytes_of_fields(served: Served, complete: bool) -> None:
    head = served.message("GET", "/", *(b"X-%d: " % number + b"a" * 2000 for number in range(50)))
    with served.sidecar.connect() as client:
        client.send(head if complete else head[:-2])
        _refused(client, 431, "head-too-large")


def test_one_field_too_large(served: Served) -> None:
    with served.sidecar.connect() as client:
        client.send(served.message("GET", "/", b"X-Big: " + b"a" * 100_000)[:-4])
        _refused(client, 431, "head-too-large")


def test_too_many_trailers(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Transfer-Encoding: chunked"), b"1\r\na\r\n0\r\n")
        client.send(b"".join(b"X-%d: 1\r\n" % number for number in range(5000)))
        assert client.response().status in {400, 431}
        assert client.is_closed()


def test_a_head_at_the_limit_passes(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    assert served.get("/" + "a" * 8000, b"X-Big: " + b"a" * 40_000).status == 200


# Each with a flag of its own.


def test_the_limits_are_configurable(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar(
        "--max-request-line", "100B", "--max-header-count", "10", "--max-header", "1KiB", "--max-body", "1KiB"
    )
    served = sidecar.provider(serve(echo()))
    assert served.get("/" + "a" * 100).status == 414
    assert served.get("/", *(b"X-%d: 1" % number for number in range(11))).status == 431
    assert served.get("/", b"X-Big: " + b"a" * 2000).status == 431
    assert served.call("POST", "/", body=b"a" * 1025).status == 413
    assert served.call("POST", "/", b"X-Fine: " + b"a" * 500, body=b"a" * 1024).body == b"a" * 1024


def test_a_body_over_the_limit_is_413_before_it_is_sent(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar("--max-body", "1KiB")
    served = sidecar.provider(serve(echo()))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Content-Length: 5000"))
        _refused(client, 413, "body-too-large")
    assert served.requests == []


def test_chunks_over_the_limit_are_413_and_never_completed(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar("--max-body", "1KiB")
    served = sidecar.provider(serve(echo()))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Transfer-Encoding: chunked"), b"400\r\n" + b"a" * 1024 + b"\r\n")
        client.send(b"1\r\na\r\n0\r\n\r\n")
        _refused(client, 413, "body-too-large")
    assert not any(connection.received.endswith(b"0\r\n\r\n") for connection in served.provider.connections)


def test_a_slow_head_is_408(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar("--header-timeout", "1s")
    served = sidecar.provider(serve(reply(200)))
    with sidecar.connect() as client:
        began_s = monotonic()
        client.sock.settimeout(0.2)
        status = _drip_until_answered(client, served.message("GET", "/", b"X: " + b"a" * 500)[:-2])
        assert status == 408
        assert monotonic() - began_s < 5
        client.sock.settimeout(8)
        _refused(client, 408, "request-timeout")
    assert served.provider.connections == []


def test_a_slow_head_on_a_kept_connection_is_408(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar("--header-timeout", "1s")
    served = sidecar.provider(serve(reply(200)))
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        assert client.response().status == 200
        client.send(b"GET /")
        _refused(client, 408, "request-timeout")


def test_a_slow_body_is_408(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar("--min-body-rate", "1KiB/s", "--body-rate-grace", "1s")
    served = sidecar.provider(serve(echo()))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Content-Length: 100000"), b"a")
        _refused(client, 408, "request-timeout")
    assert all(eventually(connection.ended.is_set) for connection in served.provider.connections)


def test_a_body_that_is_fast_enough_is_taken(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar("--min-body-rate", "10B/s", "--body-rate-grace", "1s")
    served = sidecar.provider(serve(echo()))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Content-Length: 2000"))
        client.sock.settimeout(0.01)
        for _ in range(200):
            client.send(b"a" * 10)
            _wait_for_answer(client)
        client.sock.settimeout(8)
        assert client.response().body == b"a" * 2000


def test_a_provider_that_is_slow_to_read_is_not_the_clients_fault(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar("--min-body-rate", "1MiB/s", "--body-rate-grace", "1s")

    async def swallow(connection: Connection) -> None:
        request = await connection.head()
        assert request is not None
        connection.pause_reading()
        await late(2.5, reply(200, b"took it"))(connection, request)

    served = sidecar.provider(swallow)
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Content-Length: 100000000"))
        client.sock.settimeout(0.3)
        _fill(client)
        client.sock.settimeout(8)
        assert client.response().status == 200


def test_an_idle_connection_is_closed(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar("--idle-timeout", "1s")
    served = sidecar.provider(serve(late(2.2, reply(200, b"late"))))
    with sidecar.connect() as fresh, sidecar.connect() as used, sidecar.connect() as busy:
        used.send(b"GET /nobody HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert used.response().status == 404
        busy.send(served.message("GET", "/"))
        assert fresh.is_closed()
        assert used.is_closed()
        assert busy.response().body == b"late", "a call in flight is not idle"


def test_a_reader_that_takes_nothing_is_given_up(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar("--idle-timeout", "1s")
    served = sidecar.provider(serve(reply(200, b"." * 32_000_000)))
    with sidecar.connect(receive_bytes=4096) as client:
        client.send(served.message("GET", "/"))
        assert client.head().status == 200
        assert eventually(served.provider.connections[0].ended.is_set)


def test_connections_over_the_limit_are_503(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar("--max-connections", "5")
    served = sidecar.provider(serve(reply(200)))
    with ExitStack() as stack:
        clients = [stack.enter_context(sidecar.connect()) for _ in range(5)]
        for client in clients:
            client.send(served.message("GET", "/"))
            assert client.response().status == 200
        with sidecar.connect() as one_more:
            one_more.send(served.message("GET", "/"))
            response = one_more.response()
            assert (response.status, response.problem["reason"]) == (503, "too-many-connections")
            assert response.proxy_error == "connection_limit_reached"
            assert int(response.one(b"retry-after")) >= 1
            assert one_more.is_closed()
    assert eventually(lambda: served.get().status == 200)


def _drip_until_answered(client: Client, data: bytes) -> int | None:
    """Send a byte at a time until the other side speaks; the status that it speaks of."""
    for byte in data:
        client.send(bytes([byte]))
        if status := _wait_for_answer(client):
            return status
    return None


def _wait_for_answer(client: Client) -> int | None:
    """Look ahead, for as long as the socket's timeout, at the status of a reply that has begun."""
    try:
        start = client.sock.recv(12, 2)  # MSG_PEEK
    except TimeoutError:
        return None
    return int(start[9:12])


def _fill(client: Client) -> None:
    """Send until the way has been full for as long as the socket's timeout."""
    with suppress(TimeoutError):
        while client.sock.send(b"." * 65536):
            pass
