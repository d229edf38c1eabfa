"""Connections by way of a forward proxy: tunnels, refusals, stalls, garbage. Over real sockets."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from sidecar.errors import Reason, WireError
from sidecar.http1.dial import Dialer, Resolver, open_raw
from sidecar.http1.limits import PoolLimits
from sidecar.http1.pool import Origin, Pool
from sidecar.http1.proxy import HEAD_BYTES, Proxy, ProxyDialer
from sidecar.http1.tls import TlsSettings
from tests.authority import Authority
from tests.fakes import FakeClock
from tests.forward_proxy import ForwardProxy
from tests.http1.test_pool import Provider, ask, make_exchange, running

BASIC = b"Basic c2NvdHQ6dGlnZXI="


def anything(address: str) -> bool:
    return True


def dialer(proxy: ForwardProxy, authorization: bytes = b"", *, tunnels: bool = True) -> ProxyDialer:
    way = Proxy("127.0.0.1", proxy.port, authorization, b"1.1 sidecar-test")
    return ProxyDialer(Dialer(Resolver(FakeClock())), way, anything, tunnels=tunnels)


async def failing(proxy: ForwardProxy, authorization: bytes = b"") -> WireError:
    with pytest.raises(WireError) as caught:
        await dialer(proxy, authorization).connect("api.shop.test", 443, anything)
    assert not caught.value.sent
    return caught.value


async def test_a_tunnel_carries_tls_that_is_verified_as_without_a_proxy(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with running(Provider(), authority.issue("localhost")) as provider, ForwardProxy().running() as proxy:

        def pool(name: str) -> Pool:
            way = Proxy("127.0.0.1", proxy.port)
            origin = Origin(name, provider.port, TlsSettings(authority.ca_file), proxy=way)
            return Pool(origin, dialer(proxy), anything, PoolLimits(), FakeClock())

        right, wrong = pool("localhost"), pool("127.0.0.1")
        assert [await ask(right) for _ in range(3)] == [b"ok"] * 3
        with pytest.raises(WireError) as caught:
            await ask(wrong)
        right.abort()
    assert caught.value.reason is Reason.TLS_FAILED
    assert proxy.request_lines == [
        b"CONNECT %b:%d HTTP/1.1" % (name, provider.port) for name in (b"localhost", b"127.0.0.1")
    ]
    assert len(provider.requests) == 3


async def test_a_connect_says_who_we_are_and_what_way_it_came() -> None:
    async with running(Provider()) as provider, ForwardProxy(authorization=BASIC).running() as proxy:
        (await dialer(proxy, BASIC).connect("127.0.0.1", provider.port, anything)).close()
    place = b"127.0.0.1:%d" % provider.port
    assert proxy.heads == [
        b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nProxy-Authorization: %b\r\nVia: 1.1 sidecar-test\r\n\r\n"
        % (place, place, BASIC)
    ]


async def test_an_ipv6_host_stands_in_brackets() -> None:
    async with ForwardProxy(answer=b"HTTP/1.1 502 Bad Gateway\r\n\r\n").running() as proxy:
        with pytest.raises(WireError, match=r"\[2001:db8::1\]:443 \(502 Bad Gateway\)"):
            await dialer(proxy).connect("2001:db8::1", 443, anything)
    assert proxy.request_lines == [b"CONNECT [2001:db8::1]:443 HTTP/1.1"]


async def test_bytes_behind_the_answer_are_the_providers() -> None:
    async with ForwardProxy(answer=b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\nSSH-2.0-hello").running() as proxy:
        connection = await open_raw(dialer(proxy), "api.shop.test", 443, anything)
        assert await connection.body.read() == b"SSH-2.0-hello"
        connection.abort()


async def test_interim_answers_are_passed_over() -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 204 Fine\r\nX: 1\r\n\r\n"
    async with ForwardProxy(answer=answer).running() as proxy:
        (await dialer(proxy).connect("api.shop.test", 443, anything)).close()


@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        (b"407 Who?", Reason.PROXY_DENIED, "wants credentials: see the policy's `upstream_proxy`"),
        (b"403 <b>no</b>", Reason.PROXY_DENIED, "does not let us through to api.shop.test:443 (403 Forbidden)"),
        (b"404 x", Reason.PROXY_DENIED, "404 Not Found"),
        (b"429 x", Reason.PROXY_FAILED, "429 Too Many Requests"),
        (b"302 x", Reason.PROXY_FAILED, "302 Found"),
        (b"500 x", Reason.PROXY_FAILED, "500 Internal Server Error"),
        (b"503 <b>no</b>", Reason.PROXY_FAILED, "made no connection to api.shop.test:443 (503 Service Unavailable)"),
        (b"599", Reason.PROXY_FAILED, "(599)"),
    ],
)
async def test_what_the_proxy_answers_is_told(status: bytes, reason: Reason, says: str) -> None:
    async with ForwardProxy(answer=b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nno" % status).running() as proxy:
        error = await failing(proxy)
    assert error.reason is reason
    assert says in error.detail
    assert f"127.0.0.1:{proxy.port}" in error.detail
    assert "<b>" not in error.detail


async def test_credentials_that_are_not_accepted_are_told_and_not_shown() -> None:
    async with ForwardProxy(authorization=BASIC).running() as proxy:
        error = await failing(proxy, b"Basic d3Jvbmc=")
    assert error.reason is Reason.PROXY_DENIED
    assert "does not accept the credentials" in error.detail
    assert "d3Jvbmc" not in error.detail + repr(Proxy("p", 1, b"Basic d3Jvbmc="))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "did not answer in HTTP/1.1"),
        (b"HTTP/2 200\r\n\r\n", "did not answer in HTTP/1.1"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "did not answer in HTTP/1.1"),
        (b"HTTP/1.1 200OK\r\n\r\n", "did not answer in HTTP/1.1"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "did not answer in HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * HEAD_BYTES, f"more than {HEAD_BYTES} bytes"),
    ],
)
async def test_garbage_is_a_failure_of_the_proxys(answer: bytes, says: str) -> None:
    async with ForwardProxy(answer=answer).running() as proxy:
        error = await failing(proxy)
    assert error.reason is Reason.PROXY_FAILED
    assert says in error.detail or "broke the connection" in error.detail


async def test_a_proxy_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    proxy = ForwardProxy()
    proxy.port = port
    error = await failing(proxy)
    assert error.reason is Reason.PROXY_FAILED
    assert f"no connection to 127.0.0.1:{port}" in error.detail


async def test_a_stall_is_bounded_by_the_time_to_connect() -> None:
    async with ForwardProxy(stalls=True).running() as proxy:
        origin = Origin("api.shop.test", 443, None, proxy=Proxy("127.0.0.1", proxy.port))
        pool = Pool(origin, dialer(proxy), anything, PoolLimits(), FakeClock())
        exchange = make_exchange()
        exchange.connect_s = 0.05
        with pytest.raises(WireError) as caught:
            await pool.exchange(exchange)
    assert caught.value.reason is Reason.CONNECT_TIMEOUT
    assert f"api.shop.test:443 through the outgoing proxy 127.0.0.1:{proxy.port} within 0.05 s" in caught.value.detail
    assert pool.open == 0


async def test_a_caller_that_gives_up_leaves_no_socket() -> None:
    async with ForwardProxy(stalls=True).running() as proxy:
        asking = asyncio.create_task(dialer(proxy).connect("api.shop.test", 443, anything))
        async with asyncio.timeout(10):
            while not proxy.heads:  # noqa: ASYNC110 - what is awaited has no event to wait for
                await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_host_that_may_not_be_asked_for_is_not() -> None:
    async with ForwardProxy().running() as proxy:
        with pytest.raises(WireError) as caught:
            await dialer(proxy).connect("metadata.goog", 443, lambda host: host != "metadata.goog")
    assert caught.value.reason is Reason.ADDRESS_DENIED
    assert proxy.heads == []


async def test_a_proxy_whose_own_address_is_forbidden_is_not_dialled() -> None:
    way = ProxyDialer(Dialer(Resolver(FakeClock())), Proxy("127.0.0.1", 1), lambda address: False, tunnels=True)
    with pytest.raises(WireError) as caught:
        await way.connect("api.shop.test", 443, anything)
    assert caught.value.reason is Reason.ADDRESS_DENIED


def test_proxies_and_their_users_keep_pools_apart() -> None:
    origins = {
        Origin("a", 443, None, proxy=proxy)
        for proxy in (None, Proxy("p", 1), Proxy("p", 2), Proxy("p", 1, b"Basic YTpi"), Proxy("p", 1))
    }
    assert len(origins) == 4
