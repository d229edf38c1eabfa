"""Providers that stumble and calls that succeed: retries and their bounds, through a real daemon."""

from __future__ import annotations

from time import monotonic

import pytest

from tests.menu import drip, echo, hang_up, head_of, raw, reply, reset, serve, stall
from tests.providers import Answer, Connection, Gate, Request
from tests.wire.client import eventually
from tests.wire.daemon import Sidecar, free_port

RETRY = {"attempts": 3, "backoff": {"base": "5ms", "cap": "20ms"}}
KEY = b"Idempotency-Key: 0a1b2c"


def test_two_stumbles_and_the_call_succeeds(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503, b"busy"), reply(500, b"oops"), reply(200, b"ok")), tls=True, retry=RETRY)
    response = served.get("/v1/x?a=b")
    assert (response.status, response.body, response.sidecar["attempts"]) == (200, b"ok", 3)
    assert response.sidecar["outcome"] == "ok"
    assert [request.line for request in served.requests] == [b"GET /v1/x?a=b HTTP/1.1"] * 3


@pytest.mark.parametrize("stumble", [hang_up, reset, raw(b"junk\r\n\r\n"), raw(b"HTTP/1.1 200 OK\r\nCont", close=True)])
def test_a_stumble_below_http_is_retried(sidecar: Sidecar, stumble: Answer) -> None:
    served = sidecar.provider(serve(stumble, reply(200, b"ok")), retry=RETRY)
    response = served.get()
    assert (response.status, response.sidecar["attempts"]) == (200, 2)


def test_a_timeout_is_retried(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(stall, reply(200)), retry=RETRY, timeouts={"attempt": "150ms"})
    response = served.get()
    assert (response.status, response.sidecar["attempts"]) == (200, 2)
    assert eventually(served.provider.connections[0].ended.is_set)


def test_a_body_goes_whole_with_every_attempt(sidecar: Sidecar) -> None:
    body = bytes(range(256)) * 200
    served = sidecar.provider(serve(reply(503), reply(503), echo()), retry=RETRY)
    assert served.call("PUT", "/x", body=body).body == body
    assert [request.body for request in served.requests] == [body] * 3


def test_a_body_in_chunks_goes_whole_with_every_attempt(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503), echo()), retry=RETRY)
    with sidecar.connect() as client:
        client.send(served.message("PUT", "/", b"Transfer-Encoding: chunked"), b"3\r\none\r\n")
        eventually(lambda: served.requests)
        client.send(b"3\r\ntwo\r\n0\r\n\r\n")
        assert client.response().body == b"onetwo"
    assert served.requests[-1].body == b"onetwo"


def test_a_body_too_large_to_keep_is_sent_once(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503)), retry=RETRY)
    response = served.call("PUT", "/x", body=b"." * 200_000)
    assert (response.status, response.sidecar["attempts"]) == (503, 1)
    assert len(served.requests) == 1


def test_a_post_without_a_key_is_sent_once(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503, b"busy")), retry=RETRY)
    response = served.call("POST", "/charges", body=b"amount=1")
    assert (response.status, response.body, response.sidecar["attempts"]) == (503, b"busy", 1)
    assert len(served.requests) == 1


def test_a_post_with_a_key_is_repeated_with_the_same_key(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503), echo()), retry=RETRY)
    assert served.call("POST", "/charges", KEY, body=b"amount=1").body == b"amount=1"
    assert [request.one(b"idempotency-key") for request in served.requests] == [b"0a1b2c"] * 2


def test_what_is_our_fault_is_not_retried(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(404), reply(200)), retry=RETRY)
    assert (served.get().status, len(served.requests)) == (404, 1)


def test_a_refused_connection_is_retried_even_for_a_post(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)), retry=RETRY, upstream=f"http://127.0.0.1:{free_port()}")
    response = served.call("POST", "/charges", body=b"amount=1")
    assert (response.status, response.problem["reason"], response.problem["attempts"]) == (502, "connect-failed", 3)


def test_a_provider_that_comes_back_between_attempts_is_reached(sidecar: Sidecar) -> None:
    retry = {"attempts": 4, "backoff": {"base": "300ms", "jitter": "none"}}
    served = sidecar.provider(serve(reply(200, b"back")), retry=retry)
    sidecar.stop_provider(served.provider)
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", body=b"x"))
        sidecar.restart(served.provider)
        response = client.response()
    assert (response.status, response.body) == (200, b"back")


def test_retry_after_is_waited_for(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(429, b"", b"Retry-After: 1"), reply(200)), retry=RETRY)
    began_s = monotonic()
    response = served.get()
    assert 0.9 < monotonic() - began_s < 3
    assert (response.status, response.sidecar["attempts"]) == (200, 2)
    assert response.sidecar["waited"] >= 0.9


def test_a_retry_after_beyond_the_deadline_is_passed_on(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503, b"later", b"Retry-After: 50")), retry=RETRY, timeouts={"total": "2s"})
    began_s = monotonic()
    response = served.get()
    assert monotonic() - began_s < 1, "waiting would be in vain"
    assert (response.status, response.body, response.one(b"retry-after")) == (503, b"later", b"50")


def test_an_abandoned_reply_does_not_spoil_the_next(sidecar: Sidecar) -> None:
    gate = Gate()
    endless = drip(b"busy", b"still busy", gate=gate)

    async def busy(connection: Connection, request: Request) -> None:
        await connection.send(head_of(503, b"Content-Length: 1000000") + b"x" * 1000)
        await endless(connection, request)

    served = sidecar.provider(serve(busy, reply(200, b"ok")), retry=RETRY)
    assert served.get().body == b"ok"
    gate.open()


def test_the_budget_bounds_amplification(sidecar: Sidecar) -> None:
    """60 calls on a provider that is down: three attempts each would be 180."""
    retry = RETRY | {"attempts": 3, "budget": {"ratio": "10%", "floor": "1/s"}}
    served = sidecar.provider(serve(reply(503)), retry=retry)
    for _ in range(60):
        assert served.get().status == 503
    assert 60 < len(served.requests) <= 60 + 6 + 12


def test_dry_run_of_retry_does_not_act(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503), reply(200)), retry=RETRY, dry_run=["retry"])
    assert (served.get().status, len(served.requests)) == (503, 1)


# Classification decides.


def test_a_rule_by_body_makes_a_200_transient(sidecar: Sidecar) -> None:
    rule = {"when": {"status": 200, "body": {"/error/code": "lock_timeout"}}, "as": "transient"}
    locked = reply(200, b'{"error": {"code": "lock_timeout"}}', b"Content-Type: application/json")
    well = reply(200, b'{"ok": true}', b"Content-Type: application/json")
    served = sidecar.provider(serve(locked, well), retry=RETRY, classify=[rule])
    response = served.get()
    assert (response.body, response.sidecar["attempts"]) == (b'{"ok": true}', 2)


def test_a_rule_by_header_forbids_a_retry(sidecar: Sidecar) -> None:
    rule = {"when": {"header": {"Stripe-Should-Retry": "false"}}, "as": "rejected"}
    served = sidecar.provider(serve(reply(503, b"no", b"Stripe-Should-Retry: false")), retry=RETRY, classify=[rule])
    response = served.get()
    assert (response.status, response.body, response.sidecar["attempts"]) == (503, b"no", 1)
