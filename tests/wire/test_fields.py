"""Fields: what passes unaltered, what belongs to one hop, Via, loops, Host."""

from __future__ import annotations

import re

import pytest

from tests.menu import echo, interim, raw, reply, serve
from tests.wire.daemon import Sidecar

ADDED_UPSTREAM = {b"via", b"traceparent", b"tracestate", b"host"}


def test_request_fields_keep_order_case_and_number(sidecar: Sidecar) -> None:
    lines = [
        b"X-One: 1",
        b"x-two: 2",
        b"X-ONE: 3",
        b"Accept: a/b",
        b"ACCEPT: c/d",
        b"X-Empty:",
        b"X-One: 4",
        b"x-b: a  b",
    ]
    served = sidecar.provider(serve(reply(200)))
    served.get("/", *lines)
    ours = [field for field in served.requests[0].fields if field[0].lower() not in ADDED_UPSTREAM]
    assert ours == [(line.split(b":")[0], line.split(b":")[1].strip()) for line in lines]


def test_reply_fields_keep_order_case_and_number(sidecar: Sidecar) -> None:
    lines = [
        b"date: today",
        b"Set-Cookie: a=1",
        b"X-ratelimit: 5",
        b"SET-COOKIE: b=2",
        b"X-Empty:",
        b"Server: old/1",
        b"Set-Cookie: c=3",
    ]
    response = sidecar.provider(serve(reply(200, b"ok", *lines))).get()
    theirs = [field for field in response.fields if field[0] != b"Sidecar"]
    assert theirs == [(line.split(b":")[0], line.split(b":")[1].strip()) for line in lines] + [
        (b"Content-Length", b"2")
    ]


def test_the_reason_phrase_is_kept(sidecar: Sidecar) -> None:
    served = sidecar.provider(
        serve(
            raw(b"HTTP/1.1 299 Quite Fine\r\nContent-Length: 0\r\n\r\n"),
            raw(b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
        )
    )
    assert [served.get().phrase, served.get().phrase] == [b"Quite Fine", b""]


def test_bytes_beyond_ascii_pass_in_values(sidecar: Sidecar) -> None:
    """obs-text (RFC 9110 5.5): nobody's to refuse, nobody's to recode."""
    served = sidecar.provider(serve(reply(200, b"", b"X-Name: J\xf6rg \xe2\x82\xac")))
    response = served.get("/", b"X-Name: \xe9t\xe9 \xff")
    assert served.requests[0].one(b"x-name") == b"\xe9t\xe9 \xff"
    assert response.one(b"x-name") == b"J\xf6rg \xe2\x82\xac"


def test_long_fields_pass(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", b"X-Long: " + b"b" * 16000)))
    response = served.get("/", b"X-Long: " + b"a" * 16000)
    assert served.requests[0].one(b"x-long") == b"a" * 16000
    assert response.one(b"x-long") == b"b" * 16000


HOP_FIELDS = [
    b"Connection: keep-alive, X-Hop, x-other",
    b"X-Hop: 1",
    b"X-OTHER: 1",
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"Proxy-Authorization: Basic c2VjcmV0",
    b"TE: gzip",
    b"Upgrade: foo",
]


def test_request_fields_of_one_hop_are_not_forwarded(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)))
    served.get("/", *HOP_FIELDS, b"X-Kept: 1")
    (request,) = served.requests
    names = {name.lower() for name, _ in request.fields}
    assert names <= ADDED_UPSTREAM | {b"x-kept", b"connection", b"te"}
    assert b"x-kept" in names
    assert request.all(b"te") in ([], [b"trailers"])
    assert b",".join(request.all(b"connection")).lower() in {b"", b"keep-alive", b"te"}


def test_reply_fields_of_one_hop_are_not_forwarded(sidecar: Sidecar) -> None:
    lines = [b"Connection: X-Hop", b"X-Hop: 1", b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"X-Kept: 1"]
    response = sidecar.provider(serve(reply(200, b"ok", *lines))).get()
    assert [name for name, _ in response.fields if name != b"Sidecar"] == [b"X-Kept", b"Content-Length"]


def test_several_connection_fields_count_together(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", b"Connection: x-a", b"Connection: x-b", b"X-A: 1", b"X-B: 1")))
    response = served.get("/", b"Connection: x-c", b"X-C: 1", b"connection: x-d", b"X-D: 1")
    assert {name for name, _ in served.requests[0].fields}.isdisjoint({b"X-C", b"X-D"})
    assert {name for name, _ in response.fields}.isdisjoint({b"X-A", b"X-B"})


def test_connection_cannot_strip_what_frames_or_routes_a_message(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    lines = (b"Connection: close, Host, Content-Length, Via, Content-Type", b"Content-Type: text/plain")
    assert served.call("POST", "/", *lines, body=b"body").body == b"body"
    (request,) = served.requests
    assert request.one(b"content-length") == b"4"
    assert request.one(b"host") == f"127.0.0.1:{served.provider.port}".encode()
    assert request.all(b"via") != []


def test_a_reply_cannot_strip_its_own_length(sidecar: Sidecar) -> None:
    response = sidecar.provider(serve(reply(200, b"body", b"Connection: Content-Length"))).get()
    assert (response.body, response.one(b"content-length")) == (b"body", b"4")


def test_nothing_is_made_up_upstream(sidecar: Sidecar) -> None:
    """No User-Agent, no Accept-Encoding, no X-Forwarded-For: the provider sees the application, and one Via."""
    served = sidecar.provider(serve(reply(200)))
    served.get()
    assert {name.lower() for name, _ in served.requests[0].fields} <= ADDED_UPSTREAM


def test_host_is_the_upstreams(sidecar: Sidecar) -> None:
    plain, tls = sidecar.provider(serve(reply(200))), sidecar.provider(serve(reply(200)), tls=True)
    plain.get()
    tls.get()
    assert plain.requests[0].one(b"host") == f"127.0.0.1:{plain.provider.port}".encode()
    assert tls.requests[0].one(b"host") == f"localhost:{tls.provider.port}".encode()


# Via and loops (RFC 9110 7.6.3).


def test_via_is_added_to_requests_and_not_to_replies(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)))
    response = served.get()
    assert re.fullmatch(rb"1\.1 sidecar-[0-9a-f]+", served.requests[0].one(b"via"))
    assert response.all(b"via") == []


def test_via_comes_after_earlier_ones(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)))
    sidecar.exchange(served.message("GET", "/", b"Via: 1.1 fred, 1.0 sidecar-0000 (far away)"))
    via = b", ".join(served.requests[0].all(b"via"))
    assert re.fullmatch(rb"1\.1 fred, 1\.0 sidecar-0000 \(far away\), 1\.1 sidecar-[0-9a-f]+", via)


@pytest.mark.parametrize("form", [b"Via: %b", b"via: 1.1 other, %b (x), 1.1 more", b"VIA: HTTP/%b"])
def test_a_request_that_comes_round_is_refused(sidecar: Sidecar, form: bytes) -> None:
    served = sidecar.provider(serve(reply(200)))
    served.get()
    response = served.get("/", form % served.requests[0].one(b"via"))
    assert (response.status, response.problem["reason"]) == (502, "loop")
    assert response.proxy_error == "proxy_loop_detected"
    assert len(served.requests) == 1


def test_a_provider_that_is_the_sidecar_itself_is_a_loop(sidecar: Sidecar) -> None:
    """The classic: an upstream that points back at the listener."""
    served = sidecar.provider(serve(reply(200)))
    again = sidecar.provider(serve(reply(200)), upstream=f"http://{sidecar.authority}")
    response = again.get(f"/{again.name}/x")
    assert response.status in {502, 508}
    assert served.requests == []


# Fields of our own.


def test_reserved_fields_of_the_client_go_no_further(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)))
    served.get("/", b"Sidecar: provider=evil", b"Sidecar-Timeout: 5", b"sidecar: x")
    assert not any(name.lower().startswith(b"sidecar") for name, _ in served.requests[0].fields)


def test_a_provider_cannot_speak_for_the_sidecar(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", b"Sidecar: provider=evil, attempts=99")))
    assert served.get().sidecar["provider"] == served.name


def test_interim_replies_carry_the_providers_fields_alone(sidecar: Sidecar) -> None:
    response = sidecar.provider(serve(interim(103, b"Link: <a>", then=reply(200)))).get()
    assert response.interims[0].fields[0] == (b"Link", b"<a>")
