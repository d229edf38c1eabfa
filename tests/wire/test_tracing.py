"""A call by an unmodified client, followed through the daemon to a provider over TLS and into a real OTLP receiver."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from tests.menu import reply, serve
from tests.providers import Stage
from tests.real import need
from tests.telemetry.receiver import Receiver, attributes
from tests.wire.client import eventually
from tests.wire.daemon import Sidecar

INTERNAL, CLIENT = 1, 3
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def receiver(stage: Stage) -> Iterator[Receiver]:
    """A collector on loopback; `receiver.url` is where it listens."""
    receiver = Receiver()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/{signal:.*}", receiver.take)
    runner = web.AppRunner(app)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    stage.run(start())
    yield receiver
    stage.run(runner.cleanup())


@pytest.fixture
def traced(run_sidecar: Callable[..., Sidecar], receiver: Receiver) -> Sidecar:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    return run_sidecar(environ=settings)


def curl(*arguments: str, environ: dict[str, str] | None = None) -> str:
    """What `curl` printed, headers included."""
    command = [need("curl"), "--silent", "--show-error", "--include", "--max-time", "10", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environ or {}, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ways_in(sidecar: Sidecar, name: str) -> dict[str, Callable[[], str]]:
    """The three ways in that need no certificate, each as somebody would type it."""
    listener = f"http://{sidecar.authority}"
    header = ("-H", f"traceparent: 00-{TRACE}-{PARENT}-01")
    return {
        "reverse": lambda: curl(*header, f"{listener}/{name}/v1/charges?secret=1"),
        "host": lambda: curl(*header, "-H", f"Host: {name}.test", f"{listener}/v1/charges?secret=1"),
        "forward": lambda: curl(*header, f"http://{name}.test/v1/charges?secret=1", environ={"http_proxy": listener}),
    }


@pytest.mark.parametrize("mode", ["reverse", "host", "forward"])
def test_a_call_is_one_trace_from_the_application_to_the_provider(
    traced: Sidecar, receiver: Receiver, mode: str
) -> None:
    served = traced.provider(
        serve(reply(503), reply(200, b"[]")),
        tls=True,
        retry={"attempts": 3, "backoff": {"base": "1ms"}},
        routes=[{"name": "charges", "match": {"path": "/v1/charges"}}],
    )
    shown = ways_in(traced, served.name)[mode]()
    assert shown.startswith("HTTP/1.1 200 OK")
    assert "attempts=2, outcome=ok" in shown
    eventually(lambda: len(receiver.spans) == 3)
    call = _one(receiver, lambda span: span.kind == INTERNAL)
    first = _one(receiver, lambda span: span.kind == CLIENT and "http.request.resend_count" not in attributes(span))
    second = _one(receiver, lambda span: attributes(span).get("http.request.resend_count") == 1)
    assert {span.trace_id.hex() for span in (call, first, second)} == {TRACE}
    assert call.parent_span_id.hex() == PARENT
    assert first.parent_span_id == second.parent_span_id == call.span_id
    assert (call.name, attributes(call)["sidecar.mode"]) == ("GET charges", mode)
    assert attributes(first)["http.response.status_code"] == 503
    assert f'id="{call.span_id.hex()}"' in shown
    sent = [dict(request.fields)[b"traceparent"].decode() for request in served.requests]
    assert sent == [f"00-{TRACE}-{span.span_id.hex()}-01" for span in (first, second)]
    assert all(b"secret" not in body for body in receiver.bodies)


def test_a_dead_collector_costs_no_call(run_sidecar: Callable[..., Sidecar]) -> None:
    sidecar = run_sidecar(environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "1"})
    served = sidecar.provider(serve(reply(200, b"ok")))
    assert [served.get().status for _ in range(50)] == [200] * 50
    assert sidecar.admin("GET", "/readyz")[0] == 200


def _one(receiver: Receiver, wanted: Callable[[Any], bool]) -> Any:
    (span,) = [span for span in receiver.spans if wanted(span)]
    return span
