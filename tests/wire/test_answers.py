"""What the sidecar adds to a response and what it says when it answers itself (PRODUCT §7)."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.menu import after, hang_up, raw, reply, reset, serve, stall
from tests.providers import Gate
from tests.wire.client import Response, eventually, message
from tests.wire.daemon import Served, Sidecar, free_port
from tests.wire.structured import Token

QUICK = {"backoff": {"base": "1ms", "cap": "2ms"}}

# A provider's own reply.


def test_a_reply_is_stamped_and_otherwise_its_own(sidecar: Sidecar) -> None:
    body = bytes(range(256))
    lines = [b"Content-Type: x/y", b'ETag: W/"a"', b"Retry-After: 7", b"X-Request-Id: 9", b"Via: 1.1 theirs"]
    served = sidecar.provider(serve(reply(418, body, *lines)))
    response = served.get()
    stamped = [field for field in response.fields if field[0] == b"Sidecar"]
    assert len(stamped) == 1
    others = [b"%b: %b" % field for field in response.fields if field[0] != b"Sidecar"]
    assert others == [*lines, b"Content-Length: 256"]
    assert (response.status, response.body) == (418, body)


def test_the_stamp_says_who_what_and_how_often(sidecar: Sidecar) -> None:
    route = {"name": "get-customer", "match": {"method": "GET", "path": "/v1/customers/{id}"}}
    served = sidecar.provider(serve(reply(200)), routes=[route])
    stamp = served.get("/v1/customers/7").sidecar
    assert stamp["provider"] == served.name
    assert isinstance(stamp["provider"], Token)
    assert (stamp["route"], stamp["attempts"], stamp["outcome"]) == ("get-customer", 1, "ok")
    assert re.fullmatch("[0-9a-f]{16}", stamp["id"])
    assert "retry" not in stamp
    assert served.get("/other").sidecar["route"] == "-"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "ok"),
        (304, "ok"),
        (404, "rejected"),
        (401, "credential"),
        (403, "credential"),
        (429, "throttled"),
        (500, "transient"),
    ],
)
def test_the_stamp_has_the_outcome(sidecar: Sidecar, status: int, outcome: str) -> None:
    response = sidecar.provider(serve(reply(status))).get()
    assert response.sidecar["outcome"] == outcome
    assert response.proxy_error is None
    assert response.all(b"content-type") == []


def test_ids_differ_from_call_to_call(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)))
    assert len({served.get().sidecar["id"] for _ in range(20)}) == 20


def test_the_stamp_says_what_was_waited(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503), reply(200)), retry={"backoff": {"base": "50ms", "jitter": "none"}})
    stamp = served.get().sidecar
    assert stamp["attempts"] == 2
    assert 0.04 < stamp["waited"] < 1


def test_the_stamp_says_when_a_retry_is_no_use(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503, b"theirs", b"X-A: 1")), retry=QUICK)
    response = served.get()
    assert (response.status, response.body, response.proxy_error) == (503, b"theirs", None)
    assert response.sidecar["attempts"] == 3
    assert response.sidecar["retry"] == "no"


# What the sidecar answers itself, a row a reason. Each gives the response and, where there is one, the provider.

Made = tuple[Response, Served | None]


def _breaker_open(sidecar: Sidecar) -> Made:
    served = sidecar.provider(serve(reset), breaker={"consecutive": 1, "open": {"base": "30s"}})
    served.get()
    return served.get(), served


def _rate_limited(sidecar: Sidecar) -> Made:
    served = sidecar.provider(serve(reply(200)), limit={"rate": "1/m", "burst": 1, "max_wait": "0s"})
    assert served.get().status == 200
    return served.get(), served


def _concurrency_limited(sidecar: Sidecar) -> Made:
    gate = Gate()
    served = sidecar.provider(serve(after(gate, reply(200))), limit={"concurrency": 1, "max_wait": "0s"})
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        eventually(lambda: gate.waiting)
        response = served.get()
        gate.open()
        assert client.response().status == 200
    return response, served


def _connect_refused(sidecar: Sidecar) -> Made:
    served = sidecar.provider(serve(reply(200)), upstream=f"http://127.0.0.1:{free_port()}")
    return served.get(), served


def _name_unknown(sidecar: Sidecar) -> Made:
    served = sidecar.provider(serve(reply(200)), upstream="http://nobody.invalid")
    return served.get(), served


def _attempt_timeout(sidecar: Sidecar) -> Made:
    served = sidecar.provider(serve(stall), timeouts={"attempt": "100ms"})
    return served.get(), served


def _total_timeout(sidecar: Sidecar) -> Made:
    served = sidecar.provider(serve(stall))
    return served.get("/", b"Sidecar-Timeout: 0.1"), served


def _handshake_timeout(sidecar: Sidecar) -> Made:
    served = sidecar.provider(stall, timeouts={"connect": "150ms"})
    text = served.policy_file.read_text().replace("http://127.0.0.1", "https://127.0.0.1")
    served.policy_file.write_text(text)
    sidecar.reload()
    return served.get(), served


def _tls_untrusted(sidecar: Sidecar) -> Made:
    served = sidecar.provider(serve(reply(200)), tls=sidecar.ca.issue("other.test").server_context())
    return served.get(), served


def _connection_lost(sidecar: Sidecar) -> Made:
    served = sidecar.provider(serve(hang_up))
    return served.get(), served


def _malformed(sidecar: Sidecar) -> Made:
    served = sidecar.provider(serve(raw(b"nonsense\r\n\r\n")))
    return served.get(), served


def _egress_denied(sidecar: Sidecar) -> Made:
    return sidecar.exchange(message("GET", "/", host="unknown.example")), None


def _metadata(sidecar: Sidecar) -> Made:
    served = sidecar.provider(serve(reply(200)), upstream="http://169.254.169.254")
    return served.get("/latest/meta-data/"), served


def _bad_request(sidecar: Sidecar) -> Made:
    return sidecar.exchange(b"GET / HTTP/1.1\r\n\r\n"), None


def _unknown_provider(sidecar: Sidecar) -> Made:
    return sidecar.exchange(message("GET", "/nobody/v1", host=sidecar.authority)), None


def _too_long(sidecar: Sidecar) -> Made:
    return sidecar.exchange(message("GET", "/" + "x" * 10_000, host=sidecar.authority)), None


ROWS: dict[str, tuple[Callable[[Sidecar], Made], int, str, str, str]] = {
    "breaker-open": (_breaker_open, 503, "breaker-open", "destination_unavailable", "local"),
    "rate-limited": (_rate_limited, 429, "rate-limited", "http_request_error", "local"),
    "concurrency-limited": (_concurrency_limited, 429, "concurrency-limited", "http_request_error", "local"),
    "connect-refused": (_connect_refused, 502, "connect-failed", "connection_refused", "unreachable"),
    "name-unknown": (_name_unknown, 502, "dns-failed", "dns_error", "unreachable"),
    "attempt-timeout": (_attempt_timeout, 504, "attempt-timeout", "http_response_timeout", "transient"),
    "total-timeout": (_total_timeout, 504, "total-timeout", "http_response_timeout", "transient"),
    "handshake-timeout": (_handshake_timeout, 504, "connect-timeout", "connection_timeout", "unreachable"),
    "tls-untrusted": (_tls_untrusted, 502, "tls-failed", "tls_certificate_error", "unreachable"),
    "connection-lost": (_connection_lost, 502, "connection-lost", "connection_terminated", "transient"),
    "malformed": (_malformed, 502, "reply-malformed", "http_protocol_error", "transient"),
    "egress-denied": (_egress_denied, 403, "egress-denied", "http_request_denied", "local"),
    "metadata": (_metadata, 403, "address-denied", "destination_ip_prohibited", "local"),
    "bad-request": (_bad_request, 400, "bad-request", "http_request_error", "local"),
    "unknown-provider": (_unknown_provider, 404, "unknown-provider", "destination_not_found", "local"),
    "too-long": (_too_long, 414, "target-too-long", "http_request_error", "local"),
}


@pytest.mark.parametrize("row", ROWS)
def test_an_answer_made_here(sidecar: Sidecar, row: str) -> None:
    make, status, reason, proxy_error, outcome = ROWS[row]
    response, served = make(sidecar)
    assert (response.status, response.problem["reason"]) == (status, reason)
    assert response.proxy_error == proxy_error
    assert response.one(b"content-length") == b"%d" % len(response.body)
    assert response.sidecar["outcome"] == outcome
    assert response.sidecar["attempts"] == response.problem["attempts"]
    if served is None:
        assert (response.problem["provider"], response.problem["route"]) == (None, None)
        assert "provider" not in response.sidecar
    else:
        assert (response.problem["provider"], response.problem["route"]) == (served.name, "-")
        assert response.sidecar["provider"] == served.name
    if status in {429, 503}:
        assert re.fullmatch(rb"[1-9]\d*", response.one(b"retry-after"))
    else:
        assert response.all(b"retry-after") == []
    assert response.sidecar["retry"] == "no"


def test_the_type_of_a_problem_is_stable(sidecar: Sidecar) -> None:
    one, _ = _unknown_provider(sidecar)
    two, _ = _unknown_provider(sidecar)
    assert one.problem["type"] == two.problem["type"]
    assert re.match(r"[a-z][a-z0-9+.-]*:", one.problem["type"]), "a URI"
    assert one.problem["id"] != two.problem["id"]


def test_to_head_goes_the_head_alone(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(hang_up))
    with sidecar.connect() as client:
        client.send(served.message("HEAD", "/"), served.message("GET", "/"))
        response = client.response("HEAD")
        assert response.status == 502
        assert response.one(b"content-type") == b"application/problem+json"
        assert client.response().problem["reason"] == "connection-lost"


def test_an_error_of_the_providers_side_keeps_the_connection(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(hang_up, reply(200, b"ok")))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", body=b"x"))
        assert client.response().status == 502
        client.send(served.message("GET", "/"))
        assert client.response().body == b"ok"


def test_an_open_breaker_says_how_long(sidecar: Sidecar) -> None:
    response, served = _breaker_open(sidecar)
    assert served is not None
    assert 10 <= int(response.one(b"retry-after")) <= 60
    assert len(served.requests) == 1


def test_secrets_of_a_call_are_in_no_error_and_no_log(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(hang_up))
    secret = "s3cr3t-0f-th3-c4ll"
    lines = (f"Authorization: Bearer {secret}".encode(), f"Cookie: a={secret}".encode())
    response = served.call("POST", f"/v1/x?api_key={secret}", *lines, body=secret.encode())
    assert response.status == 502
    bad = sidecar.exchange(message("GET", f"/{served.name}/?k={secret}#x", *lines, host="localhost"))
    assert bad.status == 400
    shown = json.dumps([str(response.fields), response.body.decode(), str(bad.fields), bad.body.decode()])
    assert secret not in shown
    assert secret not in sidecar.log
    assert secret not in json.dumps(sidecar.admin("GET", "/calls")[1])


# Draining (DESIGN §5).


def test_draining(run_sidecar: Callable[..., Sidecar]) -> None:
    sidecar = run_sidecar("--drain", "1s", "--grace", "5s")
    gate = Gate()
    held = sidecar.provider(serve(after(gate, reply(200, b"at last"))))
    quick = sidecar.provider(serve(reply(200)))
    with ExitStack() as stack:
        waiting, kept = (stack.enter_context(sidecar.connect()) for _ in range(2))
        waiting.send(held.message("GET", "/"))
        eventually(lambda: gate.waiting)
        kept.send(quick.message("GET", "/"))
        assert kept.response().status == 200
        sidecar.signal(signal.SIGTERM)
        eventually(lambda: sidecar.admin("GET", "/readyz")[0] == 503)
        kept.send(quick.message("GET", "/"))
        assert kept.response().status == 200, "listeners serve on while draining"
        assert quick.get().status == 200, "for new connections, too"
        refusal = eventually(lambda: _refusal(sidecar, quick), within_s=5, every_s=0.05)
        if isinstance(refusal, Response):
            assert (refusal.status, refusal.problem["reason"]) == (503, "draining")
            assert int(refusal.one(b"retry-after")) >= 1
        gate.open()
        assert waiting.response().body == b"at last", "a call in flight is finished"
        assert waiting.is_closed()
    assert sidecar.process.wait(timeout=8) == 0


def _refusal(sidecar: Sidecar, served: Served) -> Any:
    """What tells a caller that the listener has stopped: a 503, or no listener at all."""
    try:
        response = served.get()
    except OSError as error:
        return error
    return None if response.status == 200 else response
