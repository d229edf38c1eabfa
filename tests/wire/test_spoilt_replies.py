"""Replies that no parser should trust: 502 if nothing was passed on, a connection cut off if something was."""

from __future__ import annotations

import pytest

from tests.menu import by_connection, chunk, head_of, raw, reply, serve
from tests.providers import Connection, Gate, Request
from tests.wire.daemon import Sidecar

OK = b"HTTP/1.1 200 OK\r\n"


def fields(*lines: bytes, body: bytes = b"") -> bytes:
    return OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


HEADS = {
    "length-and-chunked": fields(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked-and-length": fields(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    "two-lengths": fields(b"Content-Length: 3", b"Content-Length: 5", body=b"abcde"),
    "one-length-twice": fields(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "length-list": fields(b"Content-Length: 3, 3", body=b"abc"),
    "length-plus": fields(b"Content-Length: +3", body=b"abc"),
    "length-minus": fields(b"Content-Length: -3", body=b"abc"),
    "length-hex": fields(b"Content-Length: 0x3", body=b"abc"),
    "length-empty": fields(b"Content-Length:"),
    "length-overflow": fields(b"Content-Length: 18446744073709551619", body=b"abc"),
    "gzip-chunked": fields(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked-gzip": fields(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"),
    "chunked-twice": fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "xchunked": fields(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "identity": fields(b"Transfer-Encoding: identity", b"Content-Length: 3", body=b"abc"),
    "chunked-in-http-10": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "space-before-colon": fields(b"Content-Length : 3", body=b"abc"),
    "space-in-name": fields(b"X Y: 1"),
    "no-colon": fields(b"Garbage"),
    "no-name": fields(b": x"),
    "nul-in-value": fields(b"X: a\0b"),
    "nul-in-name": fields(b"X\0: b"),
    "control-in-value": fields(b"X: a\x01b"),
    "bare-cr-in-value": fields(b"X: a\rb"),
    "fold": fields(b"X: a", b" b", b"Content-Length: 0"),
    "bare-lf-after-line": b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "bare-lf-after-field": OK + b"X: 1\nContent-Length: 0\r\n\r\n",
    "bare-lf-everywhere": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "http-09": b"<html>hello</html>",
    "http-20": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "http-2-frame": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00d",
    "version-lower-case": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "rtsp": b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "icy": b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status-two-digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status-four-digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status-099": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "status-text": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "status-glued": b"HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n",
    "double-space": b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    "leading-space": b" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "nul-in-phrase": b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    "cr-in-phrase": b"HTTP/1.1 200 O\rX: 1\r\nContent-Length: 0\r\n\r\n",
    "request-not-reply": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls-alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "garbage": b"\xff\xfe\x00\r\n\r\n",
    "spoilt-interim": b"HTTP/1.1 103 Hints\r\nLink : x\r\n\r\n" + fields(b"Content-Length: 0"),
}


@pytest.mark.parametrize("case", HEADS)
def test_a_spoilt_head_is_502(sidecar: Sidecar, case: str) -> None:
    served = sidecar.provider(
        by_connection(serve(raw(HEADS[case])), serve(reply(200, b"fresh"))), timeouts={"attempt": "3s"}
    )
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        response = client.response()
        assert (response.status, response.problem["reason"]) == (502, "reply-malformed"), response
        assert response.proxy_error == "http_protocol_error"
        client.send(served.message("GET", "/"))
        assert client.response().body == b"fresh", "the application's own connection is as good as before"
    assert len(served.provider.connections) == 2, "a spoilt connection was used again"


def test_a_head_too_large_is_502(sidecar: Sidecar) -> None:
    endless = raw(OK + b"".join(b"X-%d: " % number + b"a" * 1000 + b"\r\n" for number in range(2000)))
    response = sidecar.provider(serve(endless)).get()
    assert (response.status, response.problem["reason"]) == (502, "reply-too-large")
    assert response.proxy_error == "http_response_header_section_size"


def test_too_many_fields_are_502(sidecar: Sidecar) -> None:
    many = raw(fields(*(b"X-%d: 1" % number for number in range(3000)), b"Content-Length: 0"))
    response = sidecar.provider(serve(many)).get()
    assert (response.status, response.problem["reason"]) == (502, "reply-too-large")


def test_a_status_line_without_end_is_502(sidecar: Sidecar) -> None:
    response = sidecar.provider(serve(raw(b"HTTP/1.1 200 " + b"a" * 2_000_000))).get()
    assert response.status == 502
    assert response.problem["reason"] in {"reply-too-large", "reply-malformed"}


CHUNKS = {
    "size-not-hex": b"xyz\r\nabc\r\n0\r\n\r\n",
    "size-minus": b"-3\r\nabc\r\n0\r\n\r\n",
    "size-empty": b"\r\nabc\r\n0\r\n\r\n",
    "size-overflow": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "size-too-small": b"2\r\nabc\r\n0\r\n\r\n",
    "size-ends-with-lf": b"3\nabc\r\n0\r\n\r\n",
    "data-ends-with-lf": b"3\r\nabc\n0\r\n\r\n",
    "extension-with-lf": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "extension-with-nul": b"3;a\0b\r\nabc\r\n0\r\n\r\n",
    "trailer-fold": b"3\r\nabc\r\n0\r\nX: 1\r\n 2\r\n\r\n",
    "trailer-bare-lf": b"3\r\nabc\r\n0\r\nX: 1\nY: 2\r\n\r\n",
}


@pytest.mark.parametrize("case", CHUNKS)
def test_a_body_spoilt_after_its_head_went_on_is_cut_off(sidecar: Sidecar, case: str) -> None:
    gate = Gate()

    async def spoil(connection: Connection, _request: Request) -> None:
        await connection.send(head_of(200, b"Transfer-Encoding: chunked") + chunk(b"first"))
        await gate.passed()
        await connection.send(CHUNKS[case])

    served = sidecar.provider(by_connection(serve(spoil), serve(reply(200, b"fresh"))))
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        assert client.head().status == 200
        assert client.chunk() == b"first"
        gate.open()
        assert not client.rest().endswith(b"0\r\n\r\n"), "a proper end was put to a spoilt body"
    assert served.get().body == b"fresh"


@pytest.mark.parametrize("case", CHUNKS)
def test_a_body_spoilt_at_once_is_502_or_cut_off(sidecar: Sidecar, case: str) -> None:
    served = sidecar.provider(serve(raw(head_of(200, b"Transfer-Encoding: chunked") + CHUNKS[case])))
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        data = client.head()
        if data.status == 200:
            assert not client.rest().endswith(b"0\r\n\r\n")
        else:
            assert data.status == 502


# Bytes behind the end of a reply belong to nobody.

EVIL = head_of(200, b"Content-Length: 4") + b"evil"
GOOD = {
    "length": head_of(200, b"Content-Length: 4") + b"good",
    "chunks": head_of(200, b"Transfer-Encoding: chunked") + chunk(b"good") + b"0\r\n\r\n",
    "204": head_of(204),
    "304": head_of(304, b"Content-Length: 4"),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_second_reply_to_one_request_goes_to_nobody(sidecar: Sidecar, case: str) -> None:
    served = sidecar.provider(by_connection(serve(raw(GOOD[case] + EVIL)), serve(reply(200, b"fresh"))))
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        first = client.response()
        assert first.body in {b"good", b""} or first.problem["reason"] == "reply-malformed"
        client.send(served.message("GET", "/"))
        assert client.response().body == b"fresh"


def test_a_body_behind_the_head_of_a_reply_to_head_goes_to_nobody(sidecar: Sidecar) -> None:
    served = sidecar.provider(
        by_connection(serve(raw(head_of(200, b"Content-Length: 4") + b"evil")), serve(reply(200, b"fresh")))
    )
    with sidecar.connect() as client:
        client.send(served.message("HEAD", "/"))
        assert client.response("HEAD").status == 200
        client.send(served.message("GET", "/"))
        assert client.response().body == b"fresh"
