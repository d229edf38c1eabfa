"""Nothing of a call's fields, query, path or body leaves by telemetry, whatever becomes of the call."""

from __future__ import annotations

import asyncio
import io
import logging
import string
from collections.abc import Callable

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.call import Failure
from sidecar.errors import Reason, Verdict, WireError
from sidecar.http1.message import Body
from sidecar.telemetry.logs import start_logging, stop_logging
from tests.fakes import FakeProvider, make_call, make_reply
from tests.telemetry.harness import make_telemetry, pipeline
from tests.telemetry.receiver import Receiver

secrets = st.text(string.ascii_letters + string.digits, min_size=8, max_size=30).map("s3cr3t".__add__)


def broken_body(secret: str) -> Body:
    body = Body()
    body.feed(secret.encode())
    body.fail(WireError(Reason.REPLY_INCOMPLETE, secret))
    return body


FATES: dict[str, Callable[[str], object]] = {
    "answered": lambda secret: make_reply(200, {"set-cookie": secret}, secret.encode()),
    "refused": lambda secret: make_reply(401, {"www-authenticate": secret}, secret.encode()),
    "stumbled": lambda secret: make_reply(503, {"x-debug": secret}, secret.encode()),
    "broken off": lambda secret: make_reply(200, body=broken_body(secret)),
    "failed": lambda secret: Failure(Reason.TLS_FAILED, secret, Verdict.UNREACHABLE),
    "cancelled": asyncio.CancelledError,
    "a fault of ours": ValueError,
}


async def everything_that_leaves(secret: str, fate: str, template: str | None) -> str:
    receiver, log = Receiver(), io.StringIO()
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.take)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    writer = start_logging(log)
    telemetry = make_telemetry({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.port}"})
    telemetry.start()
    call = make_call(
        method="POST" if fate != "answered" else secret,
        target=f"/v1/{secret}/x?key={secret}&{secret}",
        headers={
            "authorization": f"Bearer {secret}",
            "cookie": f"a={secret}",
            "traceparent": f"00-{secret}-{secret}-01",
            "tracestate": f"a={secret}",
            f"x-{secret}": secret,
        },
        body=secret.encode(),
    )
    try:
        await pipeline(telemetry, FakeProvider(FATES[fate](secret)), template=template)(call)
    except (ValueError, asyncio.CancelledError):
        logging.getLogger("sidecar").exception("a call broke", extra={"authorization": secret})
        logging.getLogger("asyncio").exception("asked for %s", secret)
    text, _ = await telemetry.expose("")
    await telemetry.shutdown()
    await server.close()
    stop_logging(writer)
    assert len(receiver.traces) == 1
    assert len(receiver.metrics) == 1
    exported = b"".join(receiver.bodies).decode("latin-1")
    return exported + text.decode() + log.getvalue() + orjson.dumps(telemetry.calls.as_json()).decode()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(secrets, st.sampled_from(sorted(FATES)), st.sampled_from([None, "/v1/{id}/x"]))
def test_no_secret_leaves(secret: str, fate: str, template: str | None) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        left = asyncio.run(everything_that_leaves(secret, fate, template))
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
    assert "stripe" in left
    assert secret not in left
