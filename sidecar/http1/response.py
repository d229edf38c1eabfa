"""Providers' replies, read strictly."""

from __future__ import annotations

import re
from typing import Final, Protocol, final

import httptools

from sidecar.errors import Reason, WireError
from sidecar.http1.limits import HeadLimits
from sidecar.http1.message import COMPLETE, Body, Flow, Headers
from sidecar.http1.names import FieldNames
from sidecar.http1.reading import CONNECTION_FIELDS, NOBODY, VERSIONS, Reader

UPGRADING: Final = frozenset((101, 426))
"""Statuses whose `Upgrade` field is part of what they say (RFC 9110 15.2.2, 15.5.22)."""
USUAL_PHRASES: Final = frozenset(
    (b"OK", b"Created", b"No Content", b"Not Found", b"Not Modified", b"Too Many Requests")
)
PHRASE: Final = re.compile(rb"[\t \x21-\x7e\x80-\xff]*")
"""RFC 9112 4."""
NAMES: Final = FieldNames(CONNECTION_FIELDS)
"""Apart from those of requests, which come in another order."""


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


class ResponseSink(Protocol):
    """What a connection to a provider does with what is read from it."""

    def on_interim(self, status: int, phrase: bytes, headers: Headers) -> None: ...
    def on_response(self, response: Response) -> None: ...
    def on_complete(self) -> None: ...


@final
class ResponseReader(Reader):
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
        super().__init__(flow, limits, NAMES)
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
        rest = self._parse(data)
        if self.in_head:
            self._check_progress(data)
        elif self._bodiless:
            # llhttp would wait for the body that the head announces.
            self._bodiless = False
            self._parser = httptools.HttpResponseParser(self)
            self._sink.on_complete()
        return rest

    def on_status(self, phrase: bytes) -> None:
        self._start = self._start + phrase if self._start else phrase

    def on_headers_complete(self) -> None:
        headers, status = self._headers, self._parser.get_status_code()
        self.in_head = False
        version = self._check_start(status)
        self._check_head(headers)
        named = self._strip_named(headers)
        self._interim = status < 200 and status != 101
        if self._interim:
            self._sink.on_interim(status, self._start, headers)
            return
        response = Response(status, self._start, headers)
        response.keep_alive = b"keep-alive" in named if version == "1.0" else b"close" not in named
        if self._hop:
            response.keep_alive_s = _keep_alive_s(self._hop.get(b"keep-alive"))
            if status in UPGRADING:
                response.upgrade = self._hop.get(b"upgrade")
        self._frame(response, version)
        self._sink.on_response(response)

    def _check_start(self, status: int) -> str:
        """The version. llhttp allows other protocols, statuses below 100 and control characters in the phrase."""
        if self._first and self._carry.startswith(b"HTTP/1.1 200 OK\r\n"):
            return "1.1"  # Nearly always; nothing is left to be checked.
        version = "1.1"
        if not self._first or not self._carry.startswith(b"HTTP/1.1 %d" % status) or status < 100:
            version = self._parser.get_http_version()
            line = b"HTTP/%b %d" % (version.encode(), status)
            if version not in VERSIONS or status < 100 or line not in self._carry:
                self._refuse(Reason.REPLY_MALFORMED, "the status line is not `HTTP/1.1 status phrase`")
        phrase = self._start
        if phrase not in USUAL_PHRASES and PHRASE.fullmatch(phrase) is None:
            self._refuse(Reason.REPLY_MALFORMED, "a control character in the status line")
        return version

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

    def _malformed(self, error: Exception) -> Exception:
        return self._error or WireError(Reason.REPLY_MALFORMED, f"the reply is not HTTP/1.1: {error}")

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
