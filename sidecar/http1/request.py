"""Requests, read strictly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import httptools

from sidecar.errors import ClientError, Reason
from sidecar.http1.limits import HeadLimits
from sidecar.http1.message import Body, Flow, Headers
from sidecar.http1.names import FieldNames
from sidecar.http1.reading import CONNECTION_FIELDS, VERSIONS, Reader

HASH: Final = 0x23
COMMA: Final = 0x2C
"""As numbers: a search for bytes among bytes first finds out, by an exception, that they are none."""
NAMES: Final = FieldNames(CONNECTION_FIELDS)
"""Apart from those of replies, which come in another order."""


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
class RequestReader(Reader):
    """Reads one client connection. `feed` raises `ClientError`, after which the connection can only be answered and
    closed; `on_request` is called when a head is complete, before its body has been read."""

    __slots__ = ("_body_limit", "_error", "_on_request", "body_bytes")

    def __init__(
        self, flow: Flow, limits: HeadLimits, body_limit: int | None, on_request: Callable[[Request], None]
    ) -> None:
        super().__init__(flow, limits, NAMES)
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
        rest = self._parse(data)
        if self.in_head:
            self._check_length(self._start)
            self._check_progress(data)
        return rest

    def resume(self) -> None:
        """After an upgrade request that was not upgraded: what follows is HTTP again."""
        self._parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self._start = self._start + url if self._start else url

    def on_headers_complete(self) -> None:
        headers, method, target = self._headers, self._parser.get_method(), self._start
        self.in_head = False
        self.body_bytes = 0
        request = Request(_text(method), target, self._version(method, target), headers)
        self._check_start(request)
        self._check_head(headers)
        self._connection(request, headers)
        self._frame(request, headers)
        self._body = request.body
        self._on_request(request)

    def _version(self, method: bytes, target: bytes) -> str:
        """llhttp allows several spaces, HTTP/0.9, HTTP/2.0, RTSP and ICE; the line as it ought to be tells them all."""
        if self._first and self._carry.startswith(b"%b %b HTTP/1.1\r\n" % (method, target)):
            return "1.1"  # Nearly always; to be told by the parser costs a text made of two numbers.
        version: str = self._parser.get_http_version()
        line = b"%b %b HTTP/%b\r\n" % (method, target, version.encode())
        if version not in VERSIONS or line not in self._carry:
            self._check_length(target)
            self._refuse(Reason.BAD_REQUEST, "the request line is not `METHOD target HTTP/1.1`")
        return version

    def _check_length(self, target: bytes) -> None:
        if len(target) > self._limits.line_bytes:
            self._refuse(Reason.TARGET_TOO_LONG, f"a request target of more than {self._limits.line_bytes} bytes")

    def _check_start(self, request: Request) -> None:
        target = request.target
        self._check_length(target)
        if HASH in target:
            self._refuse(Reason.BAD_REQUEST, "the request target has a fragment")
        if target == b"*" and request.method != "OPTIONS":
            self._refuse(Reason.BAD_REQUEST, "only OPTIONS may have the target *")

    def _connection(self, request: Request, headers: Headers) -> None:
        hop = self._hop
        request.host = host = self._host
        if host is None:
            if request.version == "1.1":
                self._refuse(Reason.BAD_REQUEST, "an HTTP/1.1 request without a Host field")
        elif COMMA in host:
            self._refuse(Reason.BAD_REQUEST, "more than one Host field")
        named = self._strip_named(headers)
        request.keep_alive = b"keep-alive" in named if request.version == "1.0" else b"close" not in named
        if hop:
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

    def _malformed(self, error: Exception) -> Exception:
        return self._error or ClientError(Reason.BAD_REQUEST, f"this is not HTTP/1.1: {error}")

    def _refuse(self, reason: Reason, detail: str) -> None:
        self._error = ClientError(reason, detail)
        raise self._error


def _text(method: bytes) -> str:
    """Nearly always one of two, which to decode would cost more than to compare."""
    if method == b"GET":
        return "GET"
    return "POST" if method == b"POST" else method.decode("ascii")
