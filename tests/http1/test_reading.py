"""What is accepted reads the same however the bytes are cut; what two parsers could read differently is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import ClientError, Reason, WireError
from sidecar.http1.limits import HeadLimits
from sidecar.http1.message import Headers
from sidecar.http1.reading import CONNECTION_FIELDS
from sidecar.http1.request import Request, RequestReader
from sidecar.http1.response import Response, ResponseReader


class Flow:
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abandon(self) -> None: ...


def read_requests(data: bytes, cuts: list[int] | None = None, limits: HeadLimits | None = None) -> list[Request]:
    requests: list[Request] = []
    reader = RequestReader(Flow(), limits or HeadLimits(), None, requests.append)
    for piece in cut(data, cuts or []):
        reader.feed(piece)
    return requests


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places) if start != end]


def seen(requests: list[Request]) -> list[tuple[object, ...]]:
    return [
        (one.method, one.target, one.host, one.headers.fields, one.body.whole() if one.body else None, one.keep_alive)
        for one in requests
    ]


TWO = (
    b"POST /a?b=%20c HTTP/1.1\r\nHost: x.test\r\nX-One: 1\r\nx-one: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nT: v\r\n\r\n"
    b"PUT /b HTTP/1.1\r\nhost: y.test\r\nContent-Length: 4\r\nConnection: X-Gone, close\r\nX-Gone: 1\r\n\r\nbody"
)


@given(st.lists(st.integers(0, len(TWO)), max_size=12))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    requests = read_requests(TWO, cuts)
    assert seen(requests) == [
        ("POST", b"/a?b=%20c", b"x.test", [(b"X-One", b"1"), (b"x-one", b"2")], b"abcde", True),
        ("PUT", b"/b", b"y.test", [(b"Content-Length", b"4")], b"body", False),
    ]
    assert requests[0].body is not None
    assert requests[0].body.trailers == [(b"T", b"v")]


SAME_BUT_FOR_VERSION = (
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
    b"GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
)


@given(st.lists(st.integers(0, len(SAME_BUT_FOR_VERSION)), max_size=12))
def test_no_request_takes_its_version_from_its_neighbour(cuts: list[int]) -> None:
    assert [one.version for one in read_requests(SAME_BUT_FOR_VERSION, cuts)] == ["1.1", "1.0", "1.1"]


H = b"POST / HTTP/1.1\r\nHost: a\r\n"
REFUSED = {
    "length and chunked": H + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": H + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two equal lengths": H + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths": H + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "a list of lengths": H + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": H + b"Content-Length: +3\r\n\r\nabc",
    "a hexadecimal length": H + b"Content-Length: 0x3\r\n\r\nabc",
    "an empty length": H + b"Content-Length:\r\n\r\n",
    "a length beyond 64 bits": H + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "a folded line": H + b"X: a\r\n b\r\n\r\n",
    "a bare LF": H + b"X: a\n\r\n",
    "a bare LF at the end": H + b"X: a\r\n\n",
    "a bare CR": H + b"X: a\rb\r\n\r\n",
    "a space before the colon": H + b"X : a\r\n\r\n",
    "a NUL": H + b"X: a\0b\r\n\r\n",
    "no name": H + b": v\r\n\r\n",
    "no colon": H + b"X\r\n\r\n",
    "a letter in a chunk size": H + b"Transfer-Encoding: chunked\r\n\r\n3x\r\nabc\r\n0\r\n\r\n",
    "a space in a chunk size": H + b"Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
    "a signed chunk size": H + b"Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": H + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "a bare LF after a chunk size": H + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    "a chunk longer than it says": H + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "a control character in an extension": H + b"Transfer-Encoding: chunked\r\n\r\n3;a=\x01\r\nabc\r\n0\r\n\r\n",
    "another coding": H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "almost chunked": H + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": H + b"Transfer-Encoding: identity\r\n\r\n",
    "a coding in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two hosts": H + b"Host: b\r\n\r\n",
    "two equal hosts": H + b"Host: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "RTSP": b"OPTIONS / RTSP/1.0\r\nHost: a\r\n\r\n",
    "ICE": b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a fragment": b"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n",
    "a lower-case method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character in the target": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a line that starts with a space": b"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
}


@pytest.mark.parametrize("name", REFUSED)
def test_doubtful_requests_are_refused(name: str) -> None:
    with pytest.raises(ClientError) as refusal:
        read_requests(REFUSED[name])
    assert refusal.value.reason is Reason.BAD_REQUEST


@pytest.mark.parametrize("name", REFUSED)
@given(cuts=st.lists(st.integers(0, 120), max_size=6))
def test_doubtful_requests_are_refused_however_they_are_cut(name: str, cuts: list[int]) -> None:
    with pytest.raises(ClientError):
        read_requests(REFUSED[name], cuts)


@pytest.mark.parametrize(
    ("limits", "data", "reason"),
    [
        (HeadLimits(line_bytes=10), b"GET /1234567890 HTTP/1.1\r\nHost: a\r\n\r\n", Reason.TARGET_TOO_LONG),
        (HeadLimits(line_bytes=10), b"GET /" + b"x" * 50, Reason.TARGET_TOO_LONG),
        (HeadLimits(fields=2), b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", Reason.HEAD_TOO_LARGE),
        (HeadLimits(bytes=64), b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 64 + b"\r\n\r\n", Reason.HEAD_TOO_LARGE),
    ],
)
def test_limits_of_a_head(limits: HeadLimits, data: bytes, reason: Reason) -> None:
    with pytest.raises(ClientError) as refusal:
        read_requests(data, limits=limits)
    assert refusal.value.reason is reason


def test_a_head_that_never_ends_is_refused_at_the_limit() -> None:
    reader = RequestReader(Flow(), HeadLimits(bytes=1000), None, lambda request: None)
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")

    def go_on() -> None:
        for _ in range(2000):
            reader.feed(b"x")

    with pytest.raises(ClientError) as refusal:
        go_on()
    assert refusal.value.reason is Reason.HEAD_TOO_LARGE


def test_a_large_body_before_a_head_does_not_count_as_head() -> None:
    first = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000
    second = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    requests = read_requests(first + second, [len(first) + 10], HeadLimits(bytes=200))
    assert [request.method for request in requests] == ["POST", "GET"]


@pytest.mark.parametrize(
    "data", [H + b"Content-Length: 11\r\n\r\n", H + b"Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890"]
)
def test_a_body_beyond_the_limit_is_refused(data: bytes) -> None:
    reader = RequestReader(Flow(), HeadLimits(), 10, lambda request: None)
    with pytest.raises(ClientError) as refusal:
        reader.feed(data)
    assert refusal.value.reason is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize(
    ("connection", "upgrade", "asked"),
    [(b"Upgrade", b"websocket", b"websocket"), (b"keep-alive", b"websocket", None), (b"Upgrade", b"h2c", None)],
)
def test_only_a_named_upgrade_is_one(connection: bytes, upgrade: bytes, asked: bytes | None) -> None:
    (request,) = read_requests(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: " + connection + b"\r\nUpgrade: " + upgrade + b"\r\n\r\n"
    )
    assert request.upgrade == asked
    assert b"upgrade" not in request.headers


def test_expectations() -> None:
    (request,) = read_requests(H + b"Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n")
    assert request.expects_continue
    with pytest.raises(ClientError) as refusal:
        read_requests(H + b"Expect: miracles\r\n\r\n")
    assert refusal.value.reason is Reason.EXPECTATION_FAILED


# Replies.


@dataclass
class Sink:
    interims: list[int] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    complete: int = 0

    def on_interim(self, status: int, phrase: bytes, headers: Headers) -> None:
        self.interims.append(status)

    def on_response(self, response: Response) -> None:
        self.responses.append(response)

    def on_complete(self) -> None:
        self.complete += 1


def read_response(data: bytes, cuts: list[int] | None = None, *, head: bool = False) -> tuple[Sink, ResponseReader]:
    sink = Sink()
    reader = ResponseReader(Flow(), HeadLimits(), sink)
    reader.expects_body = not head
    for piece in cut(data, cuts or []):
        reader.feed(piece)
    return sink, reader


@given(st.lists(st.integers(0, 120), max_size=6))
def test_a_reply_does_not_take_its_version_from_an_interim_one(cuts: list[int]) -> None:
    data = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
    sink, _ = read_response(data, cuts)
    assert not sink.responses[0].keep_alive, "which is HTTP/1.0's default"


EARLY = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 Fine\r\nETag: a\r\nTransfer-Encoding: chunked\r\n"
    b"Keep-Alive: timeout=5, max=3\r\n\r\n1\r\nx\r\n0\r\nT: v\r\n\r\n"
)


@given(st.lists(st.integers(0, len(EARLY)), max_size=12))
def test_a_reply_reads_the_same_however_it_is_cut(cuts: list[int]) -> None:
    sink, _ = read_response(EARLY, cuts)
    (response,) = sink.responses
    assert (sink.interims, sink.complete) == ([103], 1)
    assert (response.status, response.phrase, response.headers.fields) == (200, b"Fine", [(b"ETag", b"a")])
    assert (response.body.whole(), response.body.trailers) == (b"x", [(b"T", b"v")])
    assert (response.keep_alive, response.keep_alive_s) == (True, 5.0)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9", b"Transfer-Encoding: chunked", b"X: y", b"Content-Length: 0"]
)
def test_the_reply_to_a_head_has_no_body_whatever_it_announces(framing: bytes) -> None:
    sink, _ = read_response(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n", head=True)
    assert sink.complete == 1
    assert sink.responses[0].body.whole() == b""


@pytest.mark.parametrize("status", [204, 304])
def test_replies_without_a_body(status: int) -> None:
    sink, reader = read_response(b"HTTP/1.1 %d X\r\nETag: a\r\n\r\n" % status)
    assert sink.complete == 1
    assert not reader.in_body


def test_until_close_ends_well_only_with_a_clean_end() -> None:
    data = b"HTTP/1.1 200 OK\r\n\r\nabc"
    sink, reader = read_response(data)
    assert reader.eof(clean=True)
    assert sink.responses[0].body.whole() == b"abc"
    sink, reader = read_response(data)
    assert not reader.eof(clean=False)
    assert isinstance(sink.responses[0].body.error, WireError)


def test_a_reply_cut_short_is_incomplete() -> None:
    sink, reader = read_response(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")
    assert not reader.eof(clean=True)
    error = sink.responses[0].body.error
    assert isinstance(error, WireError)
    assert error.reason is Reason.REPLY_INCOMPLETE


R = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "data",
    [
        R + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        R + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        R + b"X: a\r\n b\r\n\r\n",
        R + b"X : a\r\n\r\n",
        R + b"X: a\0b\r\n\r\n",
        R + b"X: a\n\r\n",
        R + b"Transfer-Encoding: gzip\r\n\r\nabc",
        R + b"Transfer-Encoding: chunked, gzip\r\n\r\nabc",
        R + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"garbage",
    ],
)
def test_doubtful_replies_are_refused(data: bytes) -> None:
    with pytest.raises(WireError) as refusal:
        read_response(data)
    assert refusal.value.reason is Reason.REPLY_MALFORMED


def test_an_upgrade_gives_its_first_bytes() -> None:
    sink = Sink()
    reader = ResponseReader(Flow(), HeadLimits(), sink)
    rest = reader.feed(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nraw")
    assert rest == b"raw"
    assert (sink.responses[0].upgrade, sink.complete) == (b"websocket", 0)
    reader.feed_raw(rest)
    reader.finish_raw()
    assert sink.responses[0].body.whole() == b"raw"


FIELDS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"A",
                b"a",
                b"B",
                b"Content-Type",
                b"content-type",
                b"TE",
                b"te",
                b"Keep-Alive",
                b"Upgrade",
                b"Age",
                b"Range",
            ]
        ),
        st.sampled_from([b"", b"x", b"y", b"two words"]),
    ),
    max_size=8,
)


def head_of(start: bytes, fields: list[tuple[bytes, bytes]]) -> bytes:
    return start + b"".join(b"%b: %b\r\n" % one for one in fields) + b"\r\n"


def expected(fields: list[tuple[bytes, bytes]]) -> Headers:
    return Headers(one for one in fields if one[0].lower() not in CONNECTION_FIELDS)


@given(st.lists(FIELDS, max_size=6))
def test_fields_read_the_same_whatever_was_read_before(heads: list[list[tuple[bytes, bytes]]]) -> None:
    requests = read_requests(b"".join(head_of(b"GET / HTTP/1.1\r\nHost: a\r\n", fields) for fields in heads))
    sink, _ = read_response(b"".join(head_of(R + b"Content-Length: 0\r\n", fields) for fields in heads))
    for fields, request, response in zip(heads, requests, sink.responses, strict=True):
        reply = expected([(b"Content-Length", b"0"), *fields])
        assert (request.headers.fields, request.headers.index) == (expected(fields).fields, expected(fields).index)
        assert (response.headers.fields, response.headers.index) == (reply.fields, reply.index)
        assert (request.headers.notable, response.headers.notable) == (expected(fields).notable, reply.notable)


@given(FIELDS)
def test_fields_between_neighbours_concern_their_message_alone(fields: list[tuple[bytes, bytes]]) -> None:
    busy = head_of(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nProxy-Authorization: p\r\n", fields)
    plain = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"
    first, second = read_requests(busy + plain)
    assert (first.host, first.expects_continue, first.proxy_credentials) == (b"a", True, b"p")
    assert (second.host, second.expects_continue, second.proxy_credentials) == (b"b", False, None)
    bare = b"GET / HTTP/1.0\r\n\r\n"
    kept = b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
    assert [(one.host, one.keep_alive) for one in read_requests(kept + bare)] == [(b"a", True), (None, False)]


def test_options_of_several_connection_fields_count_together() -> None:
    (request,) = read_requests(H + b"Connection: keep-alive\r\nX: 1\r\nConnection: X, close\r\n\r\n")
    assert (request.keep_alive, b"x" in request.headers) == (False, False)
    sink, _ = read_response(R + b"Connection: close\r\nConnection: X\r\nX: 1\r\nContent-Length: 0\r\n\r\n")
    assert (sink.responses[0].keep_alive, b"x" in sink.responses[0].headers) == (False, False)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_methods_are_text(method: str) -> None:
    assert read_requests(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method.encode())[0].method == method


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 Fine", b"HTTP/1.1 201 OK", b"HTTP/1.0 200 OK"])
def test_status_lines(start: bytes) -> None:
    sink, _ = read_response(start + b"\r\nContent-Length: 0\r\n\r\n")
    (response,) = sink.responses
    version = b"1.1" if response.keep_alive else b"1.0"
    assert b"HTTP/%b %d %b" % (version, response.status, response.phrase) == start
