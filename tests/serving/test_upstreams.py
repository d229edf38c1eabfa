"""Pools by origin: shared where the origin is the same, apart where trust or permission differ."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.call import Call, Failure, Reply
from sidecar.clock import LoopClock
from sidecar.errors import Reason, Verdict
from sidecar.http1.limits import PoolLimits
from sidecar.http1.raw import RawConnection
from sidecar.policy.model import ProviderPolicy
from sidecar.serving.upstreams import UNHURRIED_S, Upstreams, timings, tls_settings
from tests.authority import Authority
from tests.fakes import make_call, turn_loop
from tests.forward_proxy import ForwardProxy


def begin_call(**call: Any) -> Call:
    """One whose attempt begins now, as the retry step says."""
    return make_call(started_s=monotonic(), **call)


def policy(upstream: str, **keys: Any) -> ProviderPolicy:
    return ProviderPolicy.model_validate({"provider": "shop", "upstream": upstream, **keys})


@pytest.fixture
async def server(aiohttp_server: Callable[..., Awaitable[TestServer]]) -> TestServer:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Host"])

    app = web.Application()
    app.router.add_get("/{path:.*}", hello)
    return await aiohttp_server(app)


async def test_policies_of_one_origin_share_connections(server: TestServer) -> None:
    upstreams = Upstreams(PoolLimits(), 30.0, LoopClock(), b"1.1 sidecar-test")
    origin = f"http://127.0.0.1:{server.port}"
    for _ in range(2):
        shop = policy(origin)
        outcome = await upstreams.transport(shop, shop)(begin_call())
        assert isinstance(outcome, Reply)
        assert await outcome.body.read() == f"127.0.0.1:{server.port}".encode()

    assert list(upstreams.connections()) == [("shop", 1, 1)]
    upstreams.tidy()
    assert list(upstreams.connections()) == [("shop", 1, 1)]
    upstreams.close()


async def test_an_inner_address_is_refused_unless_a_policy_names_it(server: TestServer) -> None:
    upstreams = Upstreams(PoolLimits(), 30.0, LoopClock(), b"1.1 sidecar-test")
    shop = policy(f"http://127.0.0.1:{server.port}")
    outcome = await upstreams.transport(shop, shop, named=False)(begin_call())

    assert isinstance(outcome, Failure)
    assert outcome.reason is Reason.ADDRESS_DENIED
    assert list(upstreams.connections()) == [("shop", 0, 0)]
    upstreams.tidy()
    assert list(upstreams.connections()) == []


@pytest.mark.parametrize("closing", [False, True])
async def test_a_reload_keeps_tls_connections_until_a_certificate_is_replaced(
    aiohttp_server: Callable[..., Awaitable[TestServer]], tmp_path: Path, closing: bool
) -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(headers={"Connection": "close"} if closing else {})

    (tmp_path / "good").mkdir()
    (tmp_path / "other").mkdir()
    authority, stranger = Authority(tmp_path / "good"), Authority(tmp_path / "other", "Other Root")
    app = web.Application()
    app.router.add_get("/{path:.*}", hello)
    server = await aiohttp_server(app, ssl=authority.localhost.server_context())
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.ca_file.read_bytes())
    upstreams = Upstreams(PoolLimits(), 30.0, LoopClock(), b"1.1 sidecar-test")
    shop = policy(f"https://localhost:{server.port}", tls={"ca_file": str(ca_file)})

    for _ in range(3):
        outcome = await upstreams.transport(shop, shop)(begin_call())
        assert isinstance(outcome, Reply), outcome
        assert await outcome.body.read() == b""
        upstreams.tidy()
    ca_file.write_bytes(stranger.ca_file.read_bytes())
    upstreams.tidy()
    outcome = await upstreams.transport(shop, shop)(begin_call())

    assert isinstance(outcome, Failure)
    assert outcome.reason is Reason.TLS_FAILED
    upstreams.close()


def test_timeouts_that_are_off_are_a_day() -> None:
    off, on = policy("https://a.example", timeouts=False), policy("https://a.example", timeouts={"connect": "1s"})

    assert timings("a.example", off.timeouts).attempt_s == UNHURRIED_S
    assert timings("a.example", on.timeouts).connect_s == 1.0


def test_what_a_policy_says_of_tls_is_passed_on() -> None:
    tls = tls_settings(policy("https://a.example", tls={"ca_file": "/ca.pem", "min": "1.3"}).tls)

    assert tls.minimum is ssl.TLSVersion.TLSv1_3
    assert str(tls.ca_file) == "/ca.pem"
    assert (tls.client_cert, tls.client_key) == (None, None)


# Through an outgoing proxy.

BASIC = b"Basic c2NvdHQ6dGlnZXI="


def upstreams() -> Upstreams:
    return Upstreams(PoolLimits(), 30.0, LoopClock(), b"1.1 sidecar-test")


async def ask(made: Upstreams, shop: ProviderPolicy, *, named: bool = True, **call: str) -> Reply | Failure:
    return await made.transport(shop, shop, named=named)(begin_call(**call))


async def test_plain_http_goes_to_the_proxy_in_absolute_form(
    server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROXY_USER", "scott:tiger")
    async with ForwardProxy(
        authorization=BASIC, hosts={"shop.test": ("127.0.0.1", server.port or 0)}
    ).running() as proxy:
        shop = policy("http://shop.test:8080", upstream_proxy={"url": proxy.url, "credentials": {"env": "PROXY_USER"}})
        made = upstreams()
        outcome = await ask(made, shop, target="/v1/x?y=1")
        assert isinstance(outcome, Reply)
        assert await outcome.body.read() == b"shop.test:8080"
        assert outcome.status == 200
        await ask(made, shop, method="OPTIONS", target="*")
        made.close()
    assert proxy.request_lines == [
        b"GET http://shop.test:8080/v1/x?y=1 HTTP/1.1",
        b"OPTIONS http://shop.test:8080 HTTP/1.1",
    ]


async def test_https_goes_through_a_tunnel(
    aiohttp_server: Callable[..., Awaitable[TestServer]], tmp_path: Path
) -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.headers['Host']} {request.headers.get('Proxy-Authorization')}")

    authority = Authority(tmp_path)
    app = web.Application()
    app.router.add_get("/{path:.*}", hello)
    server = await aiohttp_server(app, ssl=authority.issue("shop.test").server_context())
    (tmp_path / "user").write_text("scott:tiger\n")
    async with ForwardProxy(
        authorization=BASIC, hosts={"shop.test": ("127.0.0.1", server.port or 0)}
    ).running() as proxy:
        way = {"url": proxy.url, "credentials": {"file": str(tmp_path / "user")}}
        shop = policy("https://shop.test", upstream_proxy=way, tls={"ca_file": str(authority.ca_file)})
        made = upstreams()
        for _ in range(2):
            outcome = await ask(made, shop)
            assert isinstance(outcome, Reply), outcome
            assert await outcome.body.read() == b"shop.test None", "the provider never sees the proxy's credentials"
        assert list(made.connections()) == [("shop", 1, 1)]
        made.close()
    assert proxy.request_lines == [b"CONNECT shop.test:443 HTTP/1.1"]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_407_is_our_own_fault_and_trips_nothing(scheme: str) -> None:
    async with ForwardProxy(authorization=BASIC).running() as proxy:
        made = upstreams()
        outcome = await ask(made, policy(f"{scheme}://shop.test", upstream_proxy=proxy.url))
        made.close()
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.verdict) == (Reason.PROXY_DENIED, Verdict.LOCAL)
    assert "wants credentials" in outcome.detail


async def test_a_proxy_that_finds_nobody_is_an_unreachable_provider() -> None:
    async with ForwardProxy(answer=b"HTTP/1.1 503 No\r\n\r\n").running() as proxy:
        outcome = await ask(upstreams(), policy("https://shop.test", upstream_proxy=proxy.url))
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.verdict) == (Reason.PROXY_FAILED, Verdict.UNREACHABLE)


async def test_what_no_proxy_names_is_called_directly(server: TestServer) -> None:
    async with ForwardProxy().running() as proxy:
        way = {"url": proxy.url, "no_proxy": "127.0.0.0/8"}
        made = upstreams()
        outcome = await ask(made, policy(f"http://127.0.0.1:{server.port}", upstream_proxy=way))
        assert isinstance(outcome, Reply)
        assert await outcome.body.read()
        made.close()
    assert proxy.heads == []


@pytest.mark.parametrize(
    ("host", "named"),
    [("localhost", False), ("127.0.0.1", False), ("10.0.0.7", False), ("0x7f.1", False), ("metadata.goog", True),
     ("169.254.169.254", True), ("0xa9fea9fe", True)],
)  # fmt: skip
async def test_a_proxy_is_not_asked_for_what_may_not_be_called(host: str, named: bool) -> None:
    async with ForwardProxy().running() as proxy:
        outcome = await ask(upstreams(), policy(f"http://{host}", upstream_proxy=proxy.url), named=named)
    assert isinstance(outcome, Failure)
    assert outcome.reason is Reason.ADDRESS_DENIED
    assert proxy.heads == []


async def test_other_credentials_have_connections_of_their_own(
    server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ForwardProxy(hosts={"shop.test": ("127.0.0.1", server.port or 0)}).running() as proxy:
        made = upstreams()
        for user in ("scott:tiger", "scott:changed"):
            monkeypatch.setenv("PROXY_USER", user)
            way = {"url": proxy.url, "credentials": {"env": "PROXY_USER"}}
            outcome = await ask(made, policy("http://shop.test", upstream_proxy=way))
            assert isinstance(outcome, Reply)
            assert await outcome.body.read()
        assert len(list(made.connections())) == 2
        made.close()


async def test_what_is_tunnelled_goes_through_the_proxy_too(server: TestServer) -> None:
    async with ForwardProxy(hosts={"shop.test": ("127.0.0.1", server.port or 0)}).running() as proxy:
        outcome = await upstreams().tunnel(policy("https://shop.test", upstream_proxy=proxy.url))(begin_call())
        assert isinstance(outcome, Reply)
        assert outcome.tunnel is not None
        await outcome.tunnel.send(b"GET / HTTP/1.1\r\nHost: inside\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := await outcome.body.read():
            data += piece
        assert data.endswith(b"inside")
        outcome.tunnel.abort()
    assert proxy.request_lines == [b"CONNECT shop.test:443 HTTP/1.1"]


async def test_our_own_connection_is_known_while_it_is_open(server: TestServer) -> None:
    made = upstreams()
    shop = policy(f"http://127.0.0.1:{server.port}")
    outcome = await made.tunnel(shop)(begin_call())
    assert isinstance(outcome, Reply)
    assert isinstance(outcome.tunnel, RawConnection)
    transport, _ = outcome.tunnel.detach(asyncio.Protocol())
    assert transport is not None
    sock = transport.get_extra_info("socket")
    near, far = sock.getsockname(), sock.getpeername()
    assert made.is_own(near, far)
    assert not made.is_own((near[0], near[1] ^ 1), far)
    assert not made.is_own(near, (far[0], far[1] ^ 1)), "another's may have the same port for another destination"
    transport.abort()
    await turn_loop()
    assert not made.is_own(near, far), "another's may be the next connection from there"


@pytest.mark.parametrize(
    ("host", "address", "does"),
    [("127.0.0.1", "127.0.0.1", True), ("127.0.0.1", "127.0.0.2", False), ("::1", "::1", True),
     ("nobody.invalid", "127.0.0.1", False)],
)  # fmt: skip
async def test_whether_a_name_resolves_to_an_address(host: str, address: str, does: bool) -> None:
    assert await upstreams().resolves_to(host, 443, address) is does
