"""Bytes to messages, strictly: llhttp does the grammar, this file the rules that it leaves to its user.

What two parsers could read differently is refused (RFC 9112 6.1, 11.2), whichever side sent it. llhttp refuses most of
it itself; its callbacks also let pass: sloppy request lines, other protocols' versions, a repeated `Host`, transfer
codings besides `chunked`, and codings in HTTP/1.0. Fields that concern one connection only never leave this file
among the end-to-end fields (RFC 9110 7.6.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol, final

import httptools

from sidecar.errors import ClientError, Reason, WireError
from sidecar.http1.limits import HeadLimits
from sidecar.http1.message import COMPLETE, Body, Flow, Headers

CONNECTION_FIELDS = frozenset(
    (
        b"connection",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Fields between two neighbours. `Host` is among them since each hop writes its own."""

NEVER_TRAILERS = CONNECTION_FIELDS | {b"content-length", b"trailer"}
"""Framing and routing cannot come after the body that they frame (RFC 9110 6.5.1)."""

KEPT_THOUGH_NAMED = frozenset((b"content-length", b"content-type", b"cache-control", b"authorization", b"cookie"))
"""Fields that `Connection` cannot strip: a peer that names them wants the next hop to misread the message."""


@final
class Request:
    """A request as it came, its body perhaps still arriving. `method` and `version` are text, all else bytes."""

    __slots__ = (
        "body", "expects_continue", "headers", "host", "keep_alive", "method", "proxy_credentials", "target", "upgrade",
        "version",
    )  # fmt: skip

    def __init__(self, method: str, target: bytes, version: str, headers: Headers) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.host: bytes | None = None
        self.body: Body | None = None
        self.keep_alive = True
        self.expects_continue = False
        self.upgrade: bytes | None = None
        """The protocol that the client would change to, if it asked."""
        self.proxy_credentials: bytes | None = None
        """`Proxy-Authorization`, which is for this hop alone."""


@final
class Response:
    """A provider's reply, its body perhaps still arriving."""

    __slots__ = ("body", "headers", "keep_alive", "keep_alive_s", "phrase", "status", "upgrade")

    def __init__(self, status: int, phrase: bytes, headers: Headers) -> None:
        self.status = status
        self.phrase = phrase
        self.headers = headers
        self.body: Body = COMPLETE
        self.keep_alive = True
        self.keep_alive_s: float | None = None
        """How long the provider says it keeps an idle connection."""
        self.upgrade: bytes | None = None


class _Reader:
    """What requests and replies have in common. `_refuse` raises this side's exception."""

    __slots__ = (
        "_begun", "_body", "_carry", "_flow", "_headers", "_hop", "_hops", "_limits", "_parser", "_size_bytes",
        "_start", "in_head",
    )  # fmt: skip

    def __init__(self, flow: Flow, limits: HeadLimits) -> None:
        self._flow = flow
        self._parser: Any = None
        self._limits = limits
        self._headers = Headers()
        self._hop: dict[bytes, bytes] = {}
        self._start = b""
        """The part of the start line that is text: a request's target, a reply's phrase."""
        self._carry = b""
        """What was read since the reads that the present head began in, for a look at its start line."""
        self._body: Body | None = None
        self._size_bytes = 0
        self._begun = 0
        self._hops = 0
        self.in_head = False
        """True from a head's first byte to its last."""

    def on_message_begin(self) -> None:
        self._headers = Headers()
        self._hop = {}
        self._start = b""
        self._size_bytes = 0
        self._begun += 1
        self._hops = 0
        self.in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """The most frequent callback, so `Headers.append` is written out here."""
        if not self.in_head:
            self._on_trailer(name, value)
            return
        key = name.lower()
        if key in CONNECTION_FIELDS:
            index = self._hop
            self._hops += 1
        else:
            index = self._headers.index
            self._headers.fields.append((name, value))
        if key in index:
            index[key] += b", " + value
        else:
            index[key] = value

    def _on_trailer(self, name: bytes, value: bytes) -> None:
        body = self._body
        if body is None or name.lower() in NEVER_TRAILERS:
            return
        if body.trailers is None:
            body.trailers = []
        body.trailers.append((name, value))
        if len(body.trailers) > self._limits.fields:
            self._refuse(Reason.HEAD_TOO_LARGE, f"more than {self._limits.fields} trailer fields")

    def _strip_named(self, headers: Headers) -> frozenset[bytes]:
        """Remove what `Connection` names, and give the names."""
        value = self._hop.get(b"connection")
        if value is None:
            return NOTHING
        known = USUAL_CONNECTIONS.get(value)
        if known is not None:
            return known
        names = frozenset(token.strip().lower() for token in value.split(b","))
        for name in names - KEPT_THOUGH_NAMED:
            headers.remove(name)
        return names

    def _check_head(self, headers: Headers) -> None:
        """Hold a complete head against its limits."""
        if len(headers.fields) + self._hops > self._limits.fields:
            self._refuse(Reason.HEAD_TOO_LARGE, f"more than {self._limits.fields} header fields")
        if self._size_bytes + len(self._carry) > self._limits.bytes:
            # The reads may have brought more than this head, so weigh the head itself.
            weight = sum(len(name) + len(value) + 4 for name, value in headers.fields)
            if weight > self._limits.bytes:
                self._refuse(Reason.HEAD_TOO_LARGE, f"a head of more than {self._limits.bytes} bytes")

    def _check_progress(self, data: bytes, fresh: bool) -> None:
        """Count a read that ended within a head. One in which the head began behind another message is bounded by the
        size of a read; `fresh` says that `data` could not bring anything but the head."""
        if not self._begun or (fresh and self._begun == 1):
            self._size_bytes += len(data)
            if self._size_bytes > self._limits.bytes:
                self._refuse(Reason.HEAD_TOO_LARGE, f"a head of more than {self._limits.bytes} bytes")

    def _chunked(self, version: str) -> bool:
        coding = self._hop.get(b"transfer-encoding")
        if coding is None:
            return False
        if coding.strip().lower() != b"chunked":
            self._refuse(Reason.BAD_REQUEST, "a Transfer-Encoding other than chunked")
        if version != "1.1":
            self._refuse(Reason.BAD_REQUEST, "Transfer-Encoding in HTTP/1.0")
        return True

    def release(self) -> None:
        """The connection is gone: break the circles, so that nothing of it waits for the collector of garbage."""
        self._parser = None
        self._flow = NOBODY

    def _refuse(self, reason: Reason, detail: str) -> None:
        raise NotImplementedError


class _Nobody:
    """Stands where a connection was."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abandon(self) -> None: ...
    def on_interim(self, status: int, phrase: bytes, headers: Headers) -> None: ...
    def on_response(self, response: Response) -> None: ...
    def on_complete(self) -> None: ...


NOBODY = _Nobody()


NOTHING: frozenset[bytes] = frozenset()
USUAL_CONNECTIONS: dict[bytes, frozenset[bytes]] = {
    b"keep-alive": frozenset((b"keep-alive",)),
    b"Keep-Alive": frozenset((b"keep-alive",)),
    b"close": frozenset((b"close",)),
}


@final
class RequestReader(_Reader):
    """Reads one client connection. `feed` raises `ClientError`, after which the connection can only be answered and
    closed; `on_request` is called when a head is complete, before its body has been read."""

    __slots__ = ("_body_limit", "_error", "_on_request", "body_bytes")

    def __init__(
        self, flow: Flow, limits: HeadLimits, body_limit: int | None, on_request: Callable[[Request], None]
    ) -> None:
        super().__init__(flow, limits)
        self._body_limit = body_limit
        self._on_request = on_request
        self._error: ClientError | None = None
        self.body_bytes = 0
        """Body bytes of the present message so far."""
        self._parser = httptools.HttpRequestParser(self)

    @property
    def in_body(self) -> bool:
        return self._body is not None

    def feed(self, data: bytes) -> bytes | None:
        """Parse; gives None, or what follows an upgrade request's head, not parsed."""
        fresh = not self.in_head and self._body is None
        self._begun = 0
        self._carry = self._carry + data if self._carry else data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._carry = b""
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            raise self._error or ClientError(Reason.BAD_REQUEST, f"this is not HTTP/1.1: {error}") from None
        if self.in_head:
            if len(self._start) > self._limits.line_bytes:
                self._refuse(Reason.TARGET_TOO_LONG, f"a request target of more than {self._limits.line_bytes} bytes")
            self._check_progress(data, fresh)
        else:
            self._carry = b""
        return None

    def resume(self) -> None:
        """After an upgrade request that was not upgraded: what follows is HTTP again."""
        self._parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self._start = self._start + url if self._start else url

    def on_headers_complete(self) -> None:
        parser, headers = self._parser, self._headers
        self.in_head = False
        self.body_bytes = 0
        request = Request(parser.get_method().decode("ascii"), self._start, parser.get_http_version(), headers)
        self._check_start(request)
        self._check_head(headers)
        self._connection(request, headers)
        self._frame(request, headers)
        self._body = request.body
        self._on_request(request)

    def _check_start(self, request: Request) -> None:
        """llhttp allows several spaces, HTTP/0.9, HTTP/2.0, RTSP and ICE; the line as it ought to be tells them all."""
        target = request.target
        if len(target) > self._limits.line_bytes:
            self._refuse(Reason.TARGET_TOO_LONG, f"a request target of more than {self._limits.line_bytes} bytes")
        line = b"%b %b HTTP/%b\r\n" % (request.method.encode(), target, request.version.encode())
        if request.version not in VERSIONS or line not in self._carry:
            self._refuse(Reason.BAD_REQUEST, "the request line is not `METHOD target HTTP/1.1`")
        if b"#" in target:
            self._refuse(Reason.BAD_REQUEST, "the request target has a fragment")
        if target == b"*" and request.method != "OPTIONS":
            self._refuse(Reason.BAD_REQUEST, "only OPTIONS may have the target *")

    def _connection(self, request: Request, headers: Headers) -> None:
        hop = self._hop
        request.host = host = hop.get(b"host")
        if host is None:
            if request.version == "1.1":
                self._refuse(Reason.BAD_REQUEST, "an HTTP/1.1 request without a Host field")
        elif b"," in host:
            self._refuse(Reason.BAD_REQUEST, "more than one Host field")
        named = self._strip_named(headers)
        request.keep_alive = b"keep-alive" in named if request.version == "1.0" else b"close" not in named
        if len(hop) > 1 or host is None:
            expect = hop.get(b"expect")
            if expect is not None and request.version == "1.1":
                if expect.lower() != b"100-continue":
                    self._refuse(Reason.EXPECTATION_FAILED, "an Expect other than 100-continue")
                request.expects_continue = True
            request.proxy_credentials = hop.get(b"proxy-authorization")
            upgrade = hop.get(b"upgrade")
            if upgrade is not None and b"upgrade" in named and upgrade.lower() != b"h2c":
                request.upgrade = upgrade

    def _frame(self, request: Request, headers: Headers) -> None:
        if self._chunked(request.version):
            if request.method == "CONNECT":
                self._refuse(Reason.BAD_REQUEST, "a CONNECT with a body")
            request.body = Body(self._flow)
            request.upgrade = None
            return
        length = headers.get(b"content-length")
        if length is None:
            return
        size = int(length)
        if request.method == "CONNECT":
            # It has no content (RFC 9110 9.3.6); what follows belongs to the tunnel.
            if size:
                self._refuse(Reason.BAD_REQUEST, "a CONNECT with a body")
            return
        if self._body_limit is not None and size > self._body_limit:
            self._refuse(Reason.BODY_TOO_LARGE, f"a body of more than {self._body_limit} bytes")
        request.body = Body(self._flow)
        if size:
            request.upgrade = None

    def on_body(self, data: bytes) -> None:
        self.body_bytes += len(data)
        if self._body_limit is not None and self.body_bytes > self._body_limit:
            self._refuse(Reason.BODY_TOO_LARGE, f"a body of more than {self._body_limit} bytes")
        if self._body is not None:
            self._body.feed(data)

    def on_message_complete(self) -> None:
        if self._body is not None:
            self._body.finish()
            self._body = None

    def fail_body(self, error: Exception) -> None:
        """The rest of the present body will never come."""
        if self._body is not None:
            self._body.fail(error)
            self._body = None

    def _refuse(self, reason: Reason, detail: str) -> None:
        self._error = ClientError(reason, detail)
        raise self._error


VERSIONS = frozenset(("1.0", "1.1"))
UPGRADING = frozenset((101, 426))
"""Statuses whose `Upgrade` field is part of what they say (RFC 9110 15.2.2, 15.5.22)."""
USUAL_PHRASES = frozenset((b"OK", b"Created", b"No Content", b"Not Found", b"Not Modified", b"Too Many Requests"))
PHRASE = re.compile(rb"[\t \x21-\x7e\x80-\xff]*")
"""RFC 9112 4."""


class ResponseSink(Protocol):
    """What a connection to a provider does with what is read from it."""

    def on_interim(self, status: int, phrase: bytes, headers: Headers) -> None: ...
    def on_response(self, response: Response) -> None: ...
    def on_complete(self) -> None: ...


@final
class ResponseReader(_Reader):
    """Reads one connection to a provider. `feed` raises `WireError`, after which the connection is spoilt."""

    __slots__ = (
        "_bodiless",
        "_error",
        "_interim",
        "_sink",
        "_until_close",
        "_upgrading",
        "expects_body",
        "surplus",
    )

    def __init__(self, flow: Flow, limits: HeadLimits, sink: ResponseSink) -> None:
        super().__init__(flow, limits)
        self._sink = sink
        self._error: WireError | None = None
        self._interim = False
        self._until_close = False
        self._upgrading = False
        self._bodiless = False
        self.surplus = False
        """Whether a body came with the reply to a HEAD: what else comes is anybody's guess."""
        self.expects_body = True
        """False while the reply to a HEAD is awaited."""
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> bytes | None:
        """Parse; gives None, or the first bytes of another protocol after a 101."""
        fresh = not self.in_head and self._body is None
        self._begun = 0
        self._carry = self._carry + data if self._carry else data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._carry = b""
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            raise self._error or WireError(Reason.REPLY_MALFORMED, f"the reply is not HTTP/1.1: {error}") from None
        if self.in_head:
            self._check_progress(data, fresh)
            return None
        self._carry = b""
        if self._bodiless:
            # llhttp would wait for the body that the head announces.
            self._bodiless = False
            self._parser = httptools.HttpResponseParser(self)
            self._sink.on_complete()
        return None

    def on_status(self, phrase: bytes) -> None:
        self._start = self._start + phrase if self._start else phrase

    def on_headers_complete(self) -> None:
        parser, headers = self._parser, self._headers
        self.in_head = False
        version, status = parser.get_http_version(), parser.get_status_code()
        self._check_start(version, status)
        self._check_head(headers)
        named = self._strip_named(headers)
        self._interim = status < 200 and status != 101
        if self._interim:
            self._sink.on_interim(status, self._start, headers)
            return
        response = Response(status, self._start, headers)
        response.keep_alive = b"keep-alive" in named if version == "1.0" else b"close" not in named
        response.keep_alive_s = _keep_alive_s(self._hop.get(b"keep-alive"))
        if status in UPGRADING:
            response.upgrade = self._hop.get(b"upgrade")
        self._frame(response, version)
        self._sink.on_response(response)

    def _check_start(self, version: str, status: int) -> None:
        """llhttp allows other protocols, statuses below 100 and control characters in the phrase."""
        line = b"HTTP/%b %d" % (version.encode(), status)
        if version not in VERSIONS or status < 100 or line not in self._carry:
            self._refuse(Reason.REPLY_MALFORMED, "the status line is not `HTTP/1.1 status phrase`")
        phrase = self._start
        if phrase not in USUAL_PHRASES and PHRASE.fullmatch(phrase) is None:
            self._refuse(Reason.REPLY_MALFORMED, "a control character in the status line")

    def on_body(self, data: bytes) -> None:
        if self._body is not None:
            self._body.feed(data)
        elif self._bodiless:
            self.surplus = True

    def _frame(self, response: Response, version: str) -> None:
        """Which body follows (RFC 9112 6.3)."""
        chunked, status = self._chunked(version), response.status
        self._until_close = False
        self._upgrading = status == 101
        self._bodiless = not self.expects_body and not self._upgrading
        if self._upgrading:
            response.body = self._body = Body(self._flow)
        elif self._bodiless or status in (204, 304):
            self._body = None
        else:
            response.body = self._body = Body(self._flow)
            if not chunked and b"content-length" not in response.headers:
                self._until_close = True
                response.keep_alive = False

    def on_message_complete(self) -> None:
        if self._interim or self._bodiless or self._upgrading:
            self._interim = False
            return
        if self._body is not None:
            self._body.finish()
            self._body = None
        self._sink.on_complete()

    def feed_raw(self, data: bytes) -> None:
        """Bytes of another protocol, after a 101."""
        if self._body is not None:
            self._body.feed(data)

    def eof(self, clean: bool) -> bool:
        """The provider will send no more; True if that was the proper end of a body. `clean` is False when TLS ended
        without a close_notify, so that a body until close may have been cut (RFC 9112 9.8)."""
        body, self._body = self._body, None
        if body is None:
            return False
        if self._until_close and clean:
            body.finish()
            return True
        body.fail(WireError(Reason.REPLY_INCOMPLETE, "the provider closed the connection in the middle of its reply"))
        return False

    def finish_raw(self) -> None:
        """The other protocol's last byte has come."""
        if self._body is not None:
            self._body.finish()
            self._body = None

    def fail_body(self, error: Exception) -> None:
        if self._body is not None:
            self._body.fail(error)
            self._body = None

    @property
    def in_body(self) -> bool:
        return self._body is not None

    def release(self) -> None:
        super().release()
        self._sink = NOBODY

    def _refuse(self, reason: Reason, detail: str) -> None:
        if reason is Reason.HEAD_TOO_LARGE:
            reason = Reason.REPLY_TOO_LARGE
        elif reason is Reason.BAD_REQUEST:
            reason = Reason.REPLY_MALFORMED
        self._error = WireError(reason, f"the reply is refused: {detail}")
        raise self._error


def _keep_alive_s(value: bytes | None) -> float | None:
    """`timeout` of a `Keep-Alive` field, seconds."""
    if value is None:
        return None
    for part in value.split(b","):
        name, _, seconds = part.strip().partition(b"=")
        if name.lower() == b"timeout" and seconds.isdigit():
            return float(seconds)
    return None
