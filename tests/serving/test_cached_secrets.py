"""Nothing of a cached call's fields, query or bodies is in a key, an entry's text, `/cache`, or what telemetry says."""

from __future__ import annotations

import asyncio
import io
import logging
import string
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.admin.port import Selection
from sidecar.call import Call, Handler, Outcome, Reply
from sidecar.errors import Verdict
from sidecar.policy.compile import CacheGround, Ports, compile_pipeline
from sidecar.policy.keep import Keep
from sidecar.policy.sources import load_policies
from sidecar.serving.cached import CachedReplies
from sidecar.serving.watching import watch_cache
from sidecar.steps.flight import Flights
from sidecar.stores.shelf import Shelf
from sidecar.stores.tiers import Tiers
from sidecar.telemetry.logs import start_logging, stop_logging
from tests.fakes import FakeClock, FakeProvider, make_call, make_reply
from tests.serving.test_directory import Town
from tests.telemetry.harness import make_telemetry
from tests.telemetry.receiver import Receiver

secrets = st.text(string.ascii_letters + string.digits, min_size=8, max_size=30).map("s3cr3t".__add__)
POLICY = """
provider: stripe
hosts: [api.stripe.com]
retry: off
cache: {ttl: 60s, stale: 1h, vary_on: [Stripe-Account]}
routes: [{name: get-customer, match: {path: "/v1/customers/{id}"}, cache: {tags: ["customer-{id}"]}}]
"""


def asked(secret: str) -> Call:
    return make_call(
        target=f"/v1/customers/42?key={secret}&{secret}",
        headers={
            "authorization": f"Bearer {secret}",
            "cookie": f"a={secret}",
            "stripe-account": secret,
            "accept-language": secret,
        },
    )


def answered(secret: str) -> Outcome:
    fields = {
        "set-cookie": f"a={secret}",
        "vary": "Accept-Language",
        "etag": f'"{secret}"',
        "location": f"/{secret}",
        "x-debug": secret,
    }
    return make_reply(200, fields, secret.encode())


def stumbled(secret: str) -> Outcome:
    return make_reply(503, {"x-debug": secret}, secret.encode(), verdict=Verdict.TRANSIENT)


async def pieces(reply: Reply) -> AsyncIterator[bytes]:
    while piece := await reply.body.read():
        yield piece


async def everything_that_is_seen(secret: str, home: Path) -> str:
    receiver, log, clock = Receiver(), io.StringIO(), FakeClock()
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.take)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    writer = start_logging(log)
    telemetry = make_telemetry({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.port}"}, clock)
    telemetry.start()
    tiers = Tiers(Shelf(65536, lambda _provider: False), [], clock, lambda _entry: 3e9)
    watch_cache(telemetry.meters, tiers)
    (home / "stripe.yaml").write_text(POLICY)
    loaded = load_policies([home])
    provider = FakeProvider(answered(secret), stumbled(secret))
    handle = _handler(loaded, provider, tiers, telemetry, clock)
    town = Town(home)
    replies = CachedReplies(tiers, b"k" * 32, lambda: loaded, lambda: town.directory, clock)
    for wait_s in (0, 10, 600):
        clock.advance(wait_s)
        outcome = await handle(asked(secret))
        assert isinstance(outcome, Reply)
        assert b"".join([piece async for piece in pieces(outcome)]) == secret.encode()
    overview = await replies.overview(Selection(), 10)
    [(key, entry)] = tiers.entries()
    found = await replies.find(key.hex())
    rows = orjson.dumps([overview, found, telemetry.calls.as_json()]).decode()
    purged = await replies.purge(Selection(url=f"https://api.stripe.com/v1/customers/42?key={secret}&{secret}"), False)
    assert purged == 1
    metrics, _ = await telemetry.expose("")
    await telemetry.shutdown()
    await tiers.close()
    await server.close()
    stop_logging(writer)
    served = [shown["served"] for shown in telemetry.calls.as_json()]
    assert served == ["stale", "cache", None]
    exported = b"".join(receiver.bodies).decode("latin-1")
    return exported + metrics.decode() + log.getvalue() + rows + repr(entry) + key.decode("latin-1")


def _handler(loaded: Any, provider: FakeProvider, tiers: Tiers, telemetry: Any, clock: FakeClock) -> Handler:
    ground = CacheGround(tiers, Flights(), b"k" * 32)
    ports = Ports(clock, lambda: 0.5, Keep(clock, lambda: 0.5), lambda *_: provider, telemetry, lambda: ground)
    [policy] = loaded.providers
    return compile_pipeline(policy, policy.routes[0], "", ports).handle


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(secrets)
def test_no_secret_is_seen(secret: str) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        with TemporaryDirectory() as home:
            seen = asyncio.run(everything_that_is_seen(secret, Path(home)))
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
    for word in ("customer-42", "sidecar.served.age", "sidecar_cache_requests_total", "a reply stands in", "purged"):
        assert word in seen
    assert secret not in seen
