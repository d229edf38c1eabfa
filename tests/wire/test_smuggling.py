"""Requests that two parsers could read differently: refused, the connection closed, not one byte forwarded."""

from __future__ import annotations

import pytest

from tests.menu import echo, serve
from tests.wire.client import eventually
from tests.wire.daemon import Sidecar

START = b"POST /{name}/ HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
SMUGGLED = b"GET /{name}/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def fields(*lines: bytes, rest: bytes = b"") -> bytes:
    """A POST with these field lines, then `rest`, then a request that must never be seen as one."""
    return START + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + rest + SMUGGLED


def line(start: bytes) -> bytes:
    """A request with this request line."""
    return start + b"\r\n" + HOST + b"\r\n"


HEADS = {
    # Two framings (RFC 9112 6.3).
    "length-and-chunked": fields(b"Content-Length: 5", b"Transfer-Encoding: chunked", rest=b"0\r\n\r\n"),
    "chunked-and-length": fields(b"Transfer-Encoding: chunked", b"Content-Length: 5", rest=b"0\r\n\r\n"),
    "two-lengths": fields(b"Content-Length: 3", b"Content-Length: 5", rest=b"abcde"),
    "one-length-twice": fields(b"Content-Length: 3", b"Content-Length: 3", rest=b"abc"),
    "length-list": fields(b"Content-Length: 3, 3", rest=b"abc"),
    "length-list-differs": fields(b"Content-Length: 3, 5", rest=b"abcde"),
    "length-plus": fields(b"Content-Length: +3", rest=b"abc"),
    "length-minus": fields(b"Content-Length: -3", rest=b"abc"),
    "length-hex": fields(b"Content-Length: 0x3", rest=b"abc"),
    "length-float": fields(b"Content-Length: 3.0", rest=b"abc"),
    "length-exponent": fields(b"Content-Length: 3e0", rest=b"abc"),
    "length-empty": fields(b"Content-Length:", rest=b""),
    "length-spaced": fields(b"Content-Length: 1 0", rest=b"abc"),
    "length-vertical-tab": fields(b"Content-Length: \x0b3", rest=b"abc"),
    "length-underscore": fields(b"Content-Length: 1_0", rest=b"abcabcabca"),
    "length-other-digits": fields("Content-Length: ٣".encode(), rest=b"abc"),
    "length-overflow": fields(b"Content-Length: 18446744073709551619", rest=b"abc"),
    "length-very-long": fields(b"Content-Length: " + b"9" * 400, rest=b"abc"),
    # Transfer codings.
    "gzip-chunked": fields(b"Transfer-Encoding: gzip, chunked", rest=b"0\r\n\r\n"),
    "chunked-gzip": fields(b"Transfer-Encoding: chunked, gzip", rest=b"0\r\n\r\n"),
    "chunked-twice": fields(b"Transfer-Encoding: chunked, chunked", rest=b"0\r\n\r\n"),
    "chunked-two-fields": fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", rest=b"0\r\n\r\n"),
    "chunked-identity": fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", rest=b"0\r\n\r\n"),
    "identity": fields(b"Transfer-Encoding: identity", rest=b""),
    "identity-and-length": fields(b"Transfer-Encoding: identity", b"Content-Length: 3", rest=b"abc"),
    "xchunked": fields(b"Transfer-Encoding: xchunked", rest=b"0\r\n\r\n"),
    "chunked-quoted": fields(b'Transfer-Encoding: "chunked"', rest=b"0\r\n\r\n"),
    "chunked-parameter": fields(b"Transfer-Encoding: chunked;q=1", rest=b"0\r\n\r\n"),
    "chunked-vertical-tab": fields(b"Transfer-Encoding: \x0bchunked", rest=b"0\r\n\r\n"),
    "coding-empty": fields(b"Transfer-Encoding:", rest=b"0\r\n\r\n"),
    "chunked-in-http-10": b"POST /{name}/ HTTP/1.0\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    # Field lines (RFC 9112 5).
    "space-before-colon": fields(b"Content-Length : 3", rest=b"abc"),
    "tab-before-colon": fields(b"Transfer-Encoding\t: chunked", rest=b"0\r\n\r\n"),
    "space-in-name": fields(b"X Y: 1"),
    "no-name": fields(b": 1"),
    "no-colon": fields(b"Garbage"),
    "bracket-in-name": fields(b"X(Y): 1"),
    "high-byte-in-name": fields(b"X\xe9: 1"),
    "nul-in-name": fields(b"X\0Y: 1"),
    "nul-in-value": fields(b"X: a\0b"),
    "control-in-value": fields(b"X: a\x01b"),
    "delete-in-value": fields(b"X: a\x7fb"),
    "bare-cr-in-value": fields(b"X: a\rb"),
    "cr-smuggles-a-field": fields(b"X: a\rTransfer-Encoding: chunked", rest=b"0\r\n\r\n"),
    "fold-with-space": fields(b"X: a", b" b"),
    "fold-with-tab": fields(b"X: a", b"\tb"),
    "fold-of-the-coding": fields(b"Transfer-Encoding:", b" chunked", rest=b"0\r\n\r\n"),
    "fold-at-the-start": START + b" X: a\r\n" + HOST + b"\r\n",
    "bare-lf-after-line": START[:-2] + b"\n" + HOST + b"\r\n",
    "bare-lf-after-field": START + HOST + b"X: 1\nContent-Length: 3\r\n\r\nabc",
    "bare-lf-at-end": START + HOST + b"\n",
    "bare-lf-everywhere": (START + HOST + b"\r\n").replace(b"\r\n", b"\n"),
    "crcrlf": START + HOST + b"X: 1\r\r\n\r\n",
    # Host (RFC 9112 3.2).
    "host-missing": START + b"Content-Length: 0\r\n\r\n",
    "host-twice": fields(b"Host: localhost"),
    "host-twice-differs": fields(b"hOST: other.test"),
    "host-list": START + b"Host: localhost, other.test\r\n\r\n",
    "host-with-path": START + b"Host: localhost/x\r\n\r\n",
    "host-with-user": START + b"Host: a@localhost\r\n\r\n",
    "host-with-space": START + b"Host: local host\r\n\r\n",
    "host-with-bad-port": START + b"Host: localhost:8a\r\n\r\n",
}

LINES = {
    "double-space": line(b"GET  /{name}/ HTTP/1.1"),
    "double-space-before-version": line(b"GET /{name}/  HTTP/1.1"),
    "space-after-version": line(b"GET /{name}/ HTTP/1.1 "),
    "leading-space": line(b" GET /{name}/ HTTP/1.1"),
    "tabs": line(b"GET\t/{name}/\tHTTP/1.1"),
    "space-in-target": line(b"GET /{name}/a b HTTP/1.1"),
    "nul-in-target": line(b"GET /{name}/a\0b HTTP/1.1"),
    "control-in-target": line(b"GET /{name}/a\x01b HTTP/1.1"),
    "tab-in-target": line(b"GET /{name}/a\tb HTTP/1.1"),
    "delete-in-target": line(b"GET /{name}/a\x7fb HTTP/1.1"),
    "cr-in-target": line(b"GET /{name}/a\rb HTTP/1.1"),
    "fragment": line(b"GET /{name}/#x HTTP/1.1"),
    "fragment-in-query": line(b"GET /{name}/?a#b HTTP/1.1"),
    "no-slash": line(b"GET {name}/ HTTP/1.1"),
    "asterisk": line(b"GET * HTTP/1.1"),
    "authority": line(b"GET localhost:80 HTTP/1.1"),
    "no-target": line(b"GET HTTP/1.1"),
    "other-scheme": line(b"GET ftp://{name}.test/ HTTP/1.1"),
    "user-in-target": line(b"GET http://me:pw@{name}.test/ HTTP/1.1"),
    "no-host-in-target": line(b"GET http:///x HTTP/1.1"),
    "bad-port-in-target": line(b"GET http://{name}.test:99999999/ HTTP/1.1"),
    "http-09": b"GET /{name}/\r\n\r\n",
    "http-20": line(b"GET /{name}/ HTTP/2.0"),
    "http-2": line(b"GET /{name}/ HTTP/2"),
    "http-111": line(b"GET /{name}/ HTTP/1.11"),
    "http-01": line(b"GET /{name}/ HTTP/01.1"),
    "version-lower-case": line(b"GET /{name}/ http/1.1"),
    "version-garbage": line(b"GET /{name}/ HTTP/1.1x"),
    "http2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "rtsp": line(b"OPTIONS rtsp://{name}.test/ RTSP/1.0"),
    "rtsp-version": line(b"GET /{name}/ RTSP/1.0"),
    "rtsp-method": line(b"DESCRIBE /{name}/ HTTP/1.1"),
    "ice": line(b"SOURCE /{name}/ ICE/1.0"),
    "method-lower-case": line(b"get /{name}/ HTTP/1.1"),
    "method-unknown": line(b"G(T /{name}/ HTTP/1.1"),
    "method-empty": line(b" /{name}/ HTTP/1.1"),
    "tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "garbage": b"\xff\xfe\xfd{name}\r\n\r\n",
    "reply-not-request": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("case", [*HEADS, *LINES])
def test_ambiguous_requests_are_refused_and_never_forwarded(sidecar: Sidecar, case: str) -> None:
    served = sidecar.provider(serve(echo()))
    data = (HEADS | LINES)[case].replace(b"{name}", served.name.encode())
    with sidecar.connect() as client:
        client.send(data)
        response = client.response()
        assert response.status in {400, 501}, response
        assert response.problem["reason"] in {"bad-request", "not-implemented"}
        assert response.proxy_error == "http_request_error"
        assert client.is_closed()
    assert served.provider.connections == []
    assert served.get("/after").status == 200


@pytest.mark.parametrize("case", ["length-and-chunked", "fold-with-space", "bare-lf-after-field", "double-space"])
def test_they_are_refused_a_byte_at_a_time_too(sidecar: Sidecar, case: str) -> None:
    served = sidecar.provider(serve(echo()))
    data = (HEADS | LINES)[case].replace(b"{name}", served.name.encode()).removesuffix(SMUGGLED)
    with sidecar.connect() as client:
        for byte in data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n":
            try:
                client.send(bytes([byte]))
            except ConnectionError:
                break
        assert client.response().status == 400
        assert client.is_closed()
    assert served.provider.connections == []


def test_a_good_request_before_a_bad_one_is_answered(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    bad = HEADS["length-and-chunked"].replace(b"{name}", served.name.encode())
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", body=b"good"), bad)
        assert client.response().body == b"good"
        assert client.response().status == 400
        assert client.is_closed()
    assert len(served.requests) == 1


# A spoilt body may have begun to go upstream: what matters is that the provider can never take it for a whole request,
# and that nothing behind the spoilt place is forwarded.

CHUNKS = {
    "size-not-hex": b"xyz\r\nabc\r\n0\r\n\r\n",
    "size-prefixed": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size-plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "size-minus": b"-3\r\nabc\r\n0\r\n\r\n",
    "size-empty": b"\r\nabc\r\n0\r\n\r\n",
    "size-spaced": b" 3\r\nabc\r\n0\r\n\r\n",
    "size-underscore": b"1_0\r\nabcabcabcabcabca\r\n0\r\n\r\n",
    "size-overflow": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "size-very-long": b"f" * 100 + b"\r\nabc\r\n0\r\n\r\n",
    "size-too-small": b"2\r\nabc\r\n0\r\n\r\n",
    "size-ends-with-lf": b"3\nabc\r\n0\r\n\r\n",
    "size-ends-with-cr": b"3\rabc\r\n0\r\n\r\n",
    "data-ends-with-lf": b"3\r\nabc\n0\r\n\r\n",
    "data-without-end": b"3\r\nabc0\r\n\r\n",
    "last-ends-with-lf": b"3\r\nabc\r\n0\n\n",
    "extension-with-lf": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "extension-with-cr": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "extension-with-nul": b"3;a\0b\r\nabc\r\n0\r\n\r\n",
    "extension-unquoted-end": b'3;a="b\r\nabc\r\n0\r\n\r\n',
    "trailer-space-before-colon": b"3\r\nabc\r\n0\r\nX : 1\r\n\r\n",
    "trailer-fold": b"3\r\nabc\r\n0\r\nX: 1\r\n 2\r\n\r\n",
    "trailer-bare-lf": b"3\r\nabc\r\n0\r\nX: 1\nY: 2\r\n\r\n",
    "trailer-nul": b"3\r\nabc\r\n0\r\nX: \0\r\n\r\n",
}


@pytest.mark.parametrize("case", CHUNKS)
@pytest.mark.parametrize("apart", [False, True], ids=["at-once", "apart"])
def test_spoilt_chunks_never_become_a_request(sidecar: Sidecar, case: str, apart: bool) -> None:
    served = sidecar.provider(serve(echo()))
    name = served.name.encode()
    with sidecar.connect() as client:
        client.send((START + HOST).replace(b"{name}", name), b"Transfer-Encoding: chunked\r\n\r\n")
        if apart:
            eventually(lambda: served.requests)
        client.send(CHUNKS[case], SMUGGLED.replace(b"{name}", name))
        response = client.response()
        assert (response.status, response.problem["reason"]) == (400, "bad-request")
        assert client.is_closed()
    for connection in served.provider.connections:
        assert eventually(connection.ended.is_set), "the provider still waits for the rest"
        assert b"smuggled" not in connection.received
        assert not connection.received.endswith(b"0\r\n\r\n"), "the provider had a whole request"
    assert served.get("/after").status == 200


@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding", b"Host", b"Trailer"])
def test_trailers_cannot_frame_or_route(sidecar: Sidecar, name: bytes) -> None:
    """RFC 9110 6.5.1: dropped or refused, never merged."""
    served = sidecar.provider(serve(echo()))
    with sidecar.connect() as client:
        client.send(
            served.message("POST", "/", b"Transfer-Encoding: chunked"), b"3\r\nabc\r\n0\r\n" + name + b": 1\r\n\r\n"
        )
        assert client.response().status in {200, 400}
    for request in served.requests:
        assert name not in dict(request.trailers)


def test_unusual_yet_clear_requests_pass(sidecar: Sidecar) -> None:
    """Strict is not narrow: optional white space, case and list forms that mean one thing."""
    served = sidecar.provider(serve(echo()))
    start = f"POST /{served.name}/ HTTP/1.1\r\n".encode()
    clear = [
        start + b"host:localhost\r\ncontent-length:\t 3 \t\r\n\r\nabc",
        start + HOST + b"Transfer-Encoding: Chunked\r\n\r\n0003\r\nabc\r\n000\r\n\r\n",
        start + HOST + b"TRANSFER-ENCODING:chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n",
        start + HOST + b"Content-Length: 003\r\n\r\nabc",
    ]
    for data in clear:
        assert sidecar.exchange(data).body == b"abc", data
