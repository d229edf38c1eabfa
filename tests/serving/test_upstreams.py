"""Pools by origin: shared where the origin is the same, apart where trust or permission differ."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.call import Failure, Reply
from sidecar.clock import LoopClock
from sidecar.errors import Reason
from sidecar.http1.limits import PoolLimits
from sidecar.policy.model import ProviderPolicy
from sidecar.serving.upstreams import UNHURRIED_S, Upstreams, timings, tls_settings
from tests.authority import Authority
from tests.fakes import make_call


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
        outcome = await upstreams.transport(shop, shop)(make_call())
        assert isinstance(outcome, Reply)
        assert await outcome.body.read() == f"127.0.0.1:{server.port}".encode()

    assert list(upstreams.connections()) == [("shop", 1, 1)]
    upstreams.tidy()
    assert list(upstreams.connections()) == [("shop", 1, 1)]
    upstreams.close()


async def test_an_inner_address_is_refused_unless_a_policy_names_it(server: TestServer) -> None:
    upstreams = Upstreams(PoolLimits(), 30.0, LoopClock(), b"1.1 sidecar-test")
    shop = policy(f"http://127.0.0.1:{server.port}")
    outcome = await upstreams.transport(shop, shop, named=False)(make_call())

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
        outcome = await upstreams.transport(shop, shop)(make_call())
        assert isinstance(outcome, Reply), outcome
        assert await outcome.body.read() == b""
        upstreams.tidy()
    ca_file.write_bytes(stranger.ca_file.read_bytes())
    upstreams.tidy()
    outcome = await upstreams.transport(shop, shop)(make_call())

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
