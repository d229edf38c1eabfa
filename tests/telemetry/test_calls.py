from __future__ import annotations

import logging

import orjson
import pytest

from sidecar.call import Failure, Reply, Served
from sidecar.errors import ClientError, Reason, Verdict, WireError
from sidecar.http1.message import Body
from sidecar.telemetry.instruments import Meters
from sidecar.telemetry.meters import Labels, Reading
from tests.fakes import FakeClock, FakeProvider, make_call, make_failure, make_reply
from tests.telemetry.harness import make_telemetry, pipeline


def points(meters: Meters, name: str) -> dict[Labels, Reading]:
    return next((dict(s.points) for s in meters.collect() if s.instrument.name == name), {})


async def test_a_call_as_it_is_shown() -> None:
    clock = FakeClock()
    telemetry = make_telemetry({}, clock)
    call = make_call(started_s=clock.now())
    clock.advance(0.5)
    call.note("limit", "waited 0.5 s", clock.now())
    call.waited_s = 0.5
    await pipeline(telemetry, FakeProvider(503, 200))(call)
    [shown] = orjson.loads(orjson.dumps(telemetry.calls.as_json()))
    assert call.trace is not None
    assert shown == {
        "id": call.id,
        "trace_id": call.trace.trace_id,
        "started_s": 1_800_000_000.0,
        "duration_s": 0.5,
        "waited_s": 0.5,
        "provider": "stripe",
        "route": "get-customer",
        "mode": "reverse",
        "method": "GET",
        "status": 200,
        "outcome": "ok",
        "reason": None,
        "attempts": 2,
        "decisions": [
            {"step": "limit", "decision": "waited 0.5 s", "at_s": 0.5},
            {"step": "retry", "decision": "attempt 1 transient", "at_s": 0.5},
        ],
        "served": None,
        "age_s": None,
    }


async def test_only_the_last_calls_are_kept_newest_first() -> None:
    telemetry = make_telemetry({}, calls_kept=3)
    handle = pipeline(telemetry, FakeProvider())
    for number in range(5):
        call = make_call()
        call.id = f"{number:016x}"
        await handle(call)
    assert [shown["id"][-1] for shown in telemetry.calls.as_json()] == ["4", "3", "2"]


async def test_what_is_counted_of_calls() -> None:
    telemetry = make_telemetry({})
    meters = telemetry.meters
    call = make_call()
    call.note("limit", "waited 1 s", 1000.0)
    call.note("breaker", "would refuse: open", 1000.0)
    call.waited_s = 1.0
    await pipeline(telemetry, FakeProvider(503, 503, 200))(call)
    await pipeline(telemetry, FakeProvider(make_failure()))(make_call())
    route = ("stripe", "get-customer")
    assert points(meters, "sidecar.calls") == {(*route, "ok", "reverse"): 1, (*route, "unreachable", "reverse"): 1}
    assert points(meters, "sidecar.calls.active") == {("stripe",): 0}
    assert points(meters, "sidecar.retries") == {route: 2}
    assert points(meters, "sidecar.limit.waits") == {route: 1}
    assert points(meters, "sidecar.failures") == {(*route, "connect-failed"): 1}
    assert points(meters, "sidecar.attempts") == {
        (*route, "transient"): 2,
        (*route, "ok"): 1,
        (*route, "unreachable"): 1,
    }
    assert points(meters, "sidecar.decisions") == {
        (*route, "limit", "false"): 1,
        (*route, "breaker", "true"): 1,
        (*route, "retry", "false"): 2,
    }
    assert list(points(meters, "sidecar.call.wait")) == [route]


async def test_labels_of_durations() -> None:
    telemetry = make_telemetry({})
    await pipeline(telemetry, FakeProvider(404))(make_call("PURGE"))
    await pipeline(telemetry, FakeProvider(make_failure()), template=None, host="::1")(make_call("POST"))
    assert set(points(telemetry.meters, "http.client.request.duration")) == {
        ("_OTHER", "api.stripe.com", 443, 404, "404", "http", "stripe", "get-customer"),
        ("POST", "::1", 443, None, "connect-failed", "http", "stripe", "get-customer"),
    }


async def test_made_up_methods_leave_nothing_behind() -> None:
    telemetry = make_telemetry({})
    handle = pipeline(telemetry, FakeProvider())
    for number in range(20):
        await handle(make_call(f"METHOD{number}"))
    [(labels, _)] = points(telemetry.meters, "http.client.request.duration").items()
    assert labels[0] == "_OTHER"
    assert {shown["method"] for shown in telemetry.calls.as_json()} == {"_OTHER"}


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (WireError(Reason.REPLY_INCOMPLETE, "x"), "transient", "reply-incomplete"),
        (None, "cancelled", None),
    ],
)
async def test_a_reply_that_breaks_off(error: WireError | None, outcome: str, reason: str | None) -> None:
    telemetry = make_telemetry({})
    body = Body()
    await pipeline(telemetry, FakeProvider(make_reply(body=body)))(make_call())
    if error is None:
        body.discard()
    else:
        body.fail(error)
    [shown] = telemetry.calls.as_json()
    assert (shown["status"], shown["outcome"], shown["reason"]) == (200, outcome, reason)


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (ClientError(Reason.BAD_REQUEST, "x"), "cancelled", "bad-request"),
        (KeyError("bug"), "local", "broken"),
    ],
)
async def test_a_call_that_raises(error: Exception, outcome: str, reason: str) -> None:
    telemetry = make_telemetry({})
    with pytest.raises(type(error)):
        await pipeline(telemetry, FakeProvider(error))(make_call())
    [shown] = telemetry.calls.as_json()
    assert (shown["status"], shown["outcome"], shown["reason"]) == (None, outcome, reason)


async def test_a_failure_is_logged_with_its_ids_and_a_flood_is_not(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    telemetry = make_telemetry({}, clock)
    failure = Failure(Reason.TLS_FAILED, "hunter2", Verdict.UNREACHABLE)
    handle = pipeline(telemetry, FakeProvider(failure))
    with caplog.at_level(logging.WARNING, "sidecar"):
        for _ in range(50):
            call = make_call()
            await handle(call)
        clock.advance(60)
        await handle(make_call())
    assert len(caplog.records) == 6
    first, last = caplog.records[0].__dict__, caplog.records[-1].__dict__
    assert (first["call_id"], first["reason"], first["provider"]) == (call.id, "tls-failed", "stripe")
    assert len(first["trace_id"]) == 32
    assert last["suppressed"] == 45
    assert "hunter2" not in str(first)


def served(source: str, age_s: float | None = None, reason: str = "") -> Reply:
    reply = make_reply()
    reply.served = Served(source, age_s, reason)
    return reply


@pytest.mark.parametrize(
    ("reply", "source", "age_s", "reason"),
    [
        (served("cache", 12.34567), "cache", 12.346, None),
        (served("stale", 312.0, Reason.BREAKER_OPEN), "stale", 312.0, "breaker-open"),
        (served("stale", 90.0, "status-503"), "stale", 90.0, "status-503"),
        (served("fallback", None, Reason.CONNECT_FAILED), "fallback", None, "connect-failed"),
    ],
)
async def test_a_reply_that_stands_in_is_shown_and_counted(
    reply: Reply, source: str, age_s: float | None, reason: str | None
) -> None:
    telemetry = make_telemetry({})
    await pipeline(telemetry, FakeProvider(reply))(make_call())
    [shown] = orjson.loads(orjson.dumps(telemetry.calls.as_json()))
    assert (shown["served"], shown["age_s"], shown["reason"]) == (source, age_s, reason)
    assert (shown["outcome"], shown["status"]) == ("ok", 200)
    route = ("stripe", "get-customer")
    assert points(telemetry.meters, "sidecar.served") == {(*route, source, reason): 1}
    assert points(telemetry.meters, "sidecar.calls") == {(*route, "ok", "reverse"): 1}
    assert points(telemetry.meters, "sidecar.failures") == {}


async def test_a_reply_that_stands_in_and_is_not_waited_for() -> None:
    telemetry = make_telemetry({})
    body = Body()
    reply = served("stale", 5.0, "status-503")
    reply.body = body
    await pipeline(telemetry, FakeProvider(reply))(make_call())
    body.discard()
    [shown] = telemetry.calls.as_json()
    assert (shown["outcome"], shown["served"], shown["reason"]) == ("cancelled", "stale", "status-503")


async def test_that_a_reply_stands_in_is_said_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    telemetry = make_telemetry({}, clock)
    stale = pipeline(telemetry, FakeProvider(served("stale", 61.00049, Reason.ATTEMPT_TIMEOUT)))
    with caplog.at_level(logging.WARNING, "sidecar"):
        for _ in range(50):
            await stale(make_call())
        clock.advance(60)
        await stale(make_call())
        await pipeline(telemetry, FakeProvider(served("fallback", None, Reason.ATTEMPT_TIMEOUT)))(make_call())
    assert [record.message for record in caplog.records] == ["a reply stands in"] * 7
    first, *_, again, fallback = (record.__dict__ for record in caplog.records)
    assert {name: first[name] for name in ("provider", "route", "reason", "served", "age_s", "outcome")} == {
        "provider": "stripe",
        "route": "get-customer",
        "reason": "attempt-timeout",
        "served": "stale",
        "age_s": 61.0,
        "outcome": "ok",
    }
    assert again["suppressed"] == 45
    assert (fallback["served"], fallback["age_s"], fallback["suppressed"]) == ("fallback", None, None)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (served("cache", 1.0), None),
        (served("stale", 70.0, "revalidating"), "revalidating"),
        (served("stale", 70.0, "max-stale"), "max-stale"),
    ],
)
async def test_a_cache_at_work_is_no_news(caplog: pytest.LogCaptureFixture, reply: Reply, reason: str | None) -> None:
    telemetry = make_telemetry({})
    with caplog.at_level(logging.WARNING, "sidecar"):
        await pipeline(telemetry, FakeProvider(reply))(make_call())
    assert caplog.records == []
    assert telemetry.calls.as_json()[0]["reason"] == reason
