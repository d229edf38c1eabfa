from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.call import Call, Reply, Served
from sidecar.errors import Reason, Verdict
from sidecar.http1.message import Body
from sidecar.rules.tracecontext import parse_traceparent
from tests.fakes import FakeClock, FakeProvider, make_call, make_failure, make_reply
from tests.telemetry.harness import make_telemetry, pipeline, until
from tests.telemetry.receiver import Receiver, attributes

TRACE = "12345678901234567890123456789012"
SPAN = "1234567890123456"
INTERNAL, CLIENT = 1, 3
UNSET, ERROR = 0, 2


def collector(receiver: Receiver, **more: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_METRICS_EXPORTER": "none", **more}


SERVED = [
    (Served("cache", 12.5), {"sidecar.served": "cache", "sidecar.served.age": 12.5}),
    (
        Served("stale", 312.0, Reason.BREAKER_OPEN),
        {
            "sidecar.served": "stale",
            "sidecar.served.age": 312.0,
            "sidecar.served.reason": "breaker-open",
            "sidecar.breaker": "open",
        },
    ),
    (
        Served("fallback", None, "status-503"),
        {"sidecar.served": "fallback", "sidecar.served.reason": "status-503"},
    ),
]


@pytest.mark.parametrize(("served", "said"), SERVED, ids=[served.source for served, _ in SERVED])
async def test_a_span_says_what_stood_in(receiver: Receiver, served: Served, said: dict[str, object]) -> None:
    telemetry = make_telemetry(collector(receiver))
    telemetry.start()
    reply = make_reply()
    reply.served = served
    await pipeline(telemetry, FakeProvider(reply))(make_call())
    await telemetry.shutdown()
    span = next(span for span in receiver.spans if span.kind == INTERNAL)
    assert span.status.code == UNSET
    found = attributes(span)
    assert said.items() <= found.items()
    assert "error.type" not in found
    assert "sidecar.reason" not in found


async def test_a_call_that_is_retried_end_to_end(receiver: Receiver) -> None:
    clock = FakeClock()
    telemetry = make_telemetry(collector(receiver, OTEL_SERVICE_NAME="shop-sidecar"), clock)
    sent: list[bytes] = []

    def answer(status: int) -> Callable[[Call], Reply]:
        def reply(call: Call) -> Reply:
            clock.advance(0.25)
            sent.append(dict(call.attempt_fields)[b"traceparent"])
            return make_reply(status)

        return reply

    telemetry.start()
    provider = FakeProvider(answer(503), answer(503), answer(200))
    call = make_call(headers={"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "foo=1"}, started_s=clock.now())
    await pipeline(telemetry, provider)(call)
    await telemetry.shutdown()

    by_kind = {kind: [span for span in receiver.spans if span.kind == kind] for kind in (INTERNAL, CLIENT)}
    [span] = by_kind[INTERNAL]
    assert span.name == "GET get-customer"
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (TRACE, call.id, SPAN)
    assert span.trace_state == "foo=1"
    assert span.status.code == UNSET
    assert span.flags & 0x300 == 0x300  # the parent is known to be remote
    assert span.end_time_unix_nano - span.start_time_unix_nano == pytest.approx(0.75e9, abs=1e4)
    assert span.start_time_unix_nano == pytest.approx(1_800_000_000e9, abs=1e4)
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "sidecar.provider": "stripe",
        "sidecar.route": "get-customer",
        "sidecar.mode": "reverse",
        "sidecar.outcome": "ok",
        "sidecar.attempts": 3,
    }
    assert [(event.name, attributes(event)["sidecar.decision"]) for event in span.events] == [
        ("sidecar.retry", "attempt 1 transient"),
        ("sidecar.retry", "attempt 2 transient"),
    ]

    attempts = by_kind[CLIENT]
    assert [attempt.name for attempt in attempts] == ["GET /v1/customers/{id}"] * 3
    assert {(attempt.trace_id.hex(), attempt.parent_span_id.hex()) for attempt in attempts} == {(TRACE, call.id)}
    assert [parse_traceparent(value) for value in sent] == [
        (TRACE, attempt.span_id.hex(), True) for attempt in attempts
    ]
    assert len({attempt.span_id for attempt in attempts}) == 3
    assert [attempt.status.code for attempt in attempts] == [ERROR, ERROR, UNSET]
    assert [attributes(attempt).get("http.request.resend_count") for attempt in attempts] == [None, 1, 2]
    assert attributes(attempts[0]) == {
        "http.request.method": "GET",
        "http.response.status_code": 503,
        "error.type": "503",
        "server.address": "api.stripe.com",
        "server.port": 443,
        "url.full": "https://api.stripe.com/v1/customers/{id}",
        "url.template": "/v1/customers/{id}",
        "network.protocol.name": "http",
        "sidecar.provider": "stripe",
        "sidecar.route": "get-customer",
        "sidecar.verdict": "transient",
    }
    resource = attributes(receiver.traces[0].resource_spans[0].resource)
    assert resource["service.name"] == "shop-sidecar"
    assert resource["service.version"] == "0.0.0"
    assert resource["service.instance.id"]


async def test_a_failure_is_an_error_with_its_reason(receiver: Receiver) -> None:
    telemetry = make_telemetry(collector(receiver))
    telemetry.start()
    failure = make_failure(Verdict.LOCAL, Reason.BREAKER_OPEN)
    await pipeline(telemetry, FakeProvider(failure))(make_call())
    await telemetry.shutdown()
    call_span = next(span for span in receiver.spans if span.kind == INTERNAL)
    assert call_span.status.code == ERROR
    assert call_span.parent_span_id == b""
    found = attributes(call_span)
    assert (found["sidecar.reason"], found["error.type"], found["sidecar.breaker"]) == (
        "breaker-open",
        "breaker-open",
        "open",
    )
    attempt_span = next(span for span in receiver.spans if span.kind == CLIENT)
    assert attributes(attempt_span)["error.type"] == "breaker-open"


async def test_a_cancelled_call_is_no_error(receiver: Receiver) -> None:
    telemetry = make_telemetry(collector(receiver))
    telemetry.start()
    with pytest.raises(asyncio.CancelledError):
        await pipeline(telemetry, FakeProvider(asyncio.CancelledError()))(make_call())
    await telemetry.shutdown()
    assert {span.status.code for span in receiver.spans} == {UNSET}
    assert telemetry.calls.as_json()[0]["outcome"] == "cancelled"


@pytest.mark.parametrize(
    ("sampler", "traceparent", "sampled"),
    [
        ({}, None, True),
        ({}, f"00-{TRACE}-{SPAN}-00", False),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, f"00-{TRACE}-{SPAN}-01", False),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, f"00-{TRACE}-{SPAN}-00", True),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, None, False),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, None, False),
    ],
)
async def test_sampling(receiver: Receiver, sampler: dict[str, str], traceparent: str | None, sampled: bool) -> None:
    telemetry = make_telemetry(collector(receiver, **sampler))
    telemetry.start()
    call = make_call(headers={"traceparent": traceparent} if traceparent else {})
    await pipeline(telemetry, FakeProvider())(call)
    await telemetry.shutdown()
    assert len(receiver.spans) == (2 if sampled else 0)
    assert dict(call.attempt_fields)[b"traceparent"].endswith(b"-01" if sampled else b"-00")


async def test_headers_and_compression_reach_the_collector(receiver: Receiver) -> None:
    more = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    telemetry = make_telemetry(collector(receiver, **more))
    telemetry.start()
    await pipeline(telemetry, FakeProvider())(make_call())
    await telemetry.shutdown()
    assert receiver.headers[0]["authorization"] == "Bearer x"
    assert receiver.headers[0]["content-encoding"] == "gzip"
    assert receiver.headers[0]["content-type"] == "application/x-protobuf"
    assert len(receiver.spans) == 2


async def test_a_dead_collector_costs_spans_only() -> None:
    telemetry = make_telemetry(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "200",
            "OTEL_METRICS_EXPORTER": "none",
        }
    )
    telemetry.start()
    handle = pipeline(telemetry, FakeProvider())
    for _ in range(50):
        assert (await handle(make_call())).verdict is Verdict.OK
    began_s = time.monotonic()
    await telemetry.shutdown(timeout_s=5.0)
    assert time.monotonic() - began_s < 8
    assert telemetry.meters.telemetry_drops.child("traces", "undelivered").value == 100


async def test_a_refusing_collector_is_counted(receiver: Receiver) -> None:
    receiver.status = 400
    telemetry = make_telemetry(collector(receiver))
    telemetry.start()
    await pipeline(telemetry, FakeProvider())(make_call())
    await telemetry.shutdown()
    assert telemetry.meters.telemetry_drops.child("traces", "undelivered").value == 2


async def test_a_slow_collector_fills_the_queue_and_nothing_else(receiver: Receiver) -> None:
    receiver.released.clear()
    telemetry = make_telemetry(collector(receiver, OTEL_BSP_MAX_QUEUE_SIZE="10", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="2"))
    telemetry.start()
    handle = pipeline(telemetry, FakeProvider())
    await handle(make_call())
    await until(lambda: receiver.bodies)  # the thread now waits for an answer
    for _ in range(20):
        await handle(make_call())
    dropped = telemetry.meters.telemetry_drops.child("traces", "queue-full")
    assert dropped.value == 40 - 10
    began_s = time.monotonic()
    await telemetry.shutdown(timeout_s=0.3)
    assert time.monotonic() - began_s < 3
    assert len(telemetry.calls) == 21


async def test_nothing_is_exported_without_a_collector() -> None:
    telemetry = make_telemetry({})
    telemetry.start()
    call = make_call(headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    await pipeline(telemetry, FakeProvider())(call)
    await telemetry.shutdown()
    # The application's decision goes on, though nobody here makes a span.
    assert dict(call.attempt_fields)[b"traceparent"] == f"00-{TRACE}-{call.id}-01".encode()
    call = make_call()
    await pipeline(telemetry, FakeProvider())(call)
    assert dict(call.attempt_fields)[b"traceparent"].endswith(b"-00")


async def test_a_disabled_sdk_is_as_if_we_were_not_there(receiver: Receiver) -> None:
    telemetry = make_telemetry(collector(receiver, OTEL_SDK_DISABLED="true"))
    telemetry.start()
    call = make_call(headers={"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=1"})
    await pipeline(telemetry, FakeProvider())(call)
    bare = make_call()
    await pipeline(telemetry, FakeProvider())(bare)
    await telemetry.shutdown()
    assert call.attempt_fields == [
        (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode()),
        (b"tracestate", b"a=1"),
    ]
    assert bare.attempt_fields == []
    assert receiver.bodies == []
    assert len(telemetry.calls) == 2


def test_no_sdk_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys, asyncio\n"
        "from sidecar.telemetry.settings import read_settings\n"
        "from sidecar.telemetry.telemetry import Telemetry\n"
        "from sidecar.telemetry import logs\n"
        "from sidecar.clock import LoopClock\n"
        "async def main():\n"
        "    t = Telemetry(read_settings({}), LoopClock()); t.start(); await t.shutdown()\n"
        "asyncio.run(main())\n"
        "heavy = ('opentelemetry', 'prometheus_client', 'requests', 'google', 'aiohttp')\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in heavy))\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert found.stdout.strip() == "[]"


async def test_metrics_agree_between_prometheus_and_otlp(receiver: Receiver) -> None:
    clock = FakeClock()
    telemetry = make_telemetry({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{receiver.url}/v1/metrics"}, clock)
    telemetry.start()
    telemetry.meters.policy_age.watch(lambda: [((), 12.5)])
    telemetry.meters.breaker_refusals.watch(lambda: [(("stripe", "provider"), 3)])

    def took(seconds: float, status: int) -> Callable[[Call], Reply]:
        def reply(call: Call) -> Reply:
            clock.advance(seconds)
            return make_reply(status)

        return reply

    for seconds, status in ((0.004, 200), (0.005, 200), (0.3, 404), (20.0, 200)):
        await pipeline(telemetry, FakeProvider(took(seconds, status)))(make_call(started_s=clock.now()))
    text, content_type = await telemetry.expose("text/plain")
    assert content_type.startswith("text/plain")
    await telemetry.shutdown()

    exposed: dict[str, float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name.startswith("http_client_request_duration_seconds"):
                key = f"{sample.name} {sample.labels['http_response_status_code']} {sample.labels.get('le', '')}"
                exposed[key.strip()] = sample.value
    points = {
        dict(key)["http.response.status_code"]: point
        for key, point in receiver.points("http.client.request.duration").items()
    }
    name = "http_client_request_duration_seconds"
    assert set(points) == {200, 404}
    for status, point in points.items():
        assert point.count == exposed[f"{name}_count {status}"]
        assert point.sum == pytest.approx(exposed[f"{name}_sum {status}"])
        running = 0
        for bound, count in zip([*point.explicit_bounds, float("inf")], point.bucket_counts, strict=True):
            running += count
            label = "+Inf" if bound == float("inf") else str(bound)
            assert exposed[f"{name}_bucket {status} {label}"] == running
    assert list(points[200].bucket_counts) == [2, *[0] * 13, 1]
    assert points[200].sum == pytest.approx(20.009)
    [age] = receiver.points("sidecar.policy.age").values()
    assert age.as_double == 12.5
    [refused] = receiver.points("sidecar.breaker.refusals").values()
    assert refused.as_int == 3
    assert b"sidecar_breaker_refusals_total" in text
    assert b'service_name="sidecar"' in text


async def test_metrics_are_exported_again_and_again(receiver: Receiver) -> None:
    clock = FakeClock()
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
    }
    telemetry = make_telemetry(environ, clock)
    telemetry.start()
    calls = telemetry.meters.calls.child("stripe", "-", "ok", "reverse")
    active = telemetry.meters.calls_active.child("stripe")
    duration = telemetry.meters.call_wait.child("stripe", "-")
    calls.add(5)
    active.add(2)
    duration.observe(1.0)
    clock.advance(1.0)
    await until(lambda: len(receiver.metrics) == 1)
    calls.add(2)
    duration.observe(0.5)
    clock.advance(1.0)
    await until(lambda: len(receiver.metrics) == 2)
    await telemetry.shutdown()

    def only(name: str, export: int) -> Any:
        [point] = receiver.points(name, export).values()
        return point

    assert [only("sidecar.calls", export).as_int for export in range(3)] == [5, 2, 0]
    assert [only("sidecar.calls.active", export).as_int for export in range(3)] == [2, 2, 2]
    waits = [only("sidecar.call.wait", export) for export in range(3)]
    assert [(point.count, point.sum) for point in waits] == [(1, 1.0), (1, 0.5), (0, 0.0)]


async def test_a_streamed_reply_is_measured_to_its_end() -> None:
    clock = FakeClock()
    telemetry = make_telemetry({}, clock)
    body = Body()
    await pipeline(telemetry, FakeProvider(make_reply(200, body=body)))(make_call(started_s=clock.now()))
    assert telemetry.meters.calls_active.child("stripe").value == 1
    clock.advance(3.0)
    body.finish()
    assert telemetry.meters.calls_active.child("stripe").value == 0
    [point] = next(s for s in telemetry.meters.collect() if s.instrument.name.startswith("http.")).points
    assert point[1].total == pytest.approx(3.0)  # type: ignore[union-attr]
    assert telemetry.calls.as_json()[0]["duration_s"] == 3.0
