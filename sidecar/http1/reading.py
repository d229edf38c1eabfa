"""What reading a request and reading a reply have in common: heads, their limits, and the fields between neighbours.

llhttp does the grammar, and these files the rules that it leaves to its user. What two parsers could read differently
is refused (RFC 9112 6.1, 11.2), whichever side sent it. llhttp refuses most of it itself; its callbacks also let pass:
sloppy start lines, other protocols' versions, a repeated `Host`, transfer codings besides `chunked`, and codings in
HTTP/1.0. Fields that concern one connection only never get among the end-to-end fields (RFC 9110 7.6.1).
"""

from __future__ import annotations

from typing import Any, Final

import httptools

from sidecar.errors import Reason
from sidecar.http1.limits import HeadLimits
from sidecar.http1.message import HOP_BY_HOP, Body, Flow, Headers
from sidecar.http1.names import FieldName, FieldNames

CONNECTION_FIELDS: Final = (HOP_BY_HOP - {b"trailer"}) | {b"expect", b"host"}
"""Fields between two neighbours. `Host` is among them since each hop writes its own."""

NEVER_TRAILERS: Final = CONNECTION_FIELDS | {b"content-length", b"trailer"}
"""Framing and routing cannot come after the body that they frame (RFC 9110 6.5.1)."""

KEPT_THOUGH_NAMED: Final = frozenset(
    (b"content-length", b"content-type", b"cache-control", b"authorization", b"cookie")
)
"""Fields that `Connection` cannot strip: a peer that names them wants the next hop to misread the message."""
VERSIONS: Final = frozenset(("1.0", "1.1"))


class Reader:
    """What requests and replies have in common. `_refuse` raises this side's exception."""

    __slots__ = (
        "_begun", "_body", "_carry", "_first", "_flow", "_fresh", "_headers", "_hop", "_hops", "_host", "_last",
        "_limits", "_names", "_options", "_parser", "_size_bytes", "_start", "in_head",
    )  # fmt: skip

    def __init__(self, flow: Flow, limits: HeadLimits, names: FieldNames) -> None:
        self._flow = flow
        self._parser: Any = None
        self._limits = limits
        self._headers = Headers()
        self._names = names
        self._last: FieldName = names.start
        """The field before the present one."""
        self._host: bytes | None = None
        self._options: bytes | None = None
        """The value of `Connection`. Few heads have other fields between neighbours than this and `Host`."""
        self._hop: dict[bytes, bytes] = {}
        """Those others."""
        self._start = b""
        """The part of the start line that is text: a request's target, a reply's phrase."""
        self._carry = b""
        """What was read since the reads that the present head began in, for a look at its start line."""
        self._body: Body | None = None
        self._size_bytes = 0
        self._begun = 0
        self._hops = 0
        self._fresh = True
        """The present read began between two messages."""
        self._first = False
        """Nothing stands before the present head in `_carry`."""
        self.in_head = False
        """True from a head's first byte to its last."""

    def _parse(self, data: bytes) -> bytes | None:
        """Give `data` to the parser, which calls back; None, or what follows an upgrade, not parsed."""
        self._fresh = not self.in_head and self._body is None
        self._begun = 0
        self._carry = self._carry + data if self._carry else data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._carry = b""
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            raise self._malformed(error) from None
        if not self.in_head:
            self._carry = b""
        return None

    def on_message_begin(self) -> None:
        self._headers = Headers()
        self._last = self._names.start
        self._host = self._options = None
        if self._hop:
            self._hop = {}
        self._start = b""
        self._size_bytes = 0
        self._begun += 1
        self._first = self._fresh and self._begun == 1
        self._hops = 0
        self.in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """The most frequent callback, so `Headers.append` is written out here."""
        if not self.in_head:
            self._on_trailer(name, value)
            return
        known = self._last.next
        if known is None or known.name != name:
            known = self._names.follow(self._last, name)
        self._last = known
        key = known.key
        if known.hop:
            self._on_hop(key, value)
            return
        headers = self._headers
        if known.notable:
            headers.notable = True
        headers.fields.append((known.name, value))
        index = headers.index
        # One search instead of two, for a field that is hardly ever there already.
        count = len(index)
        index.setdefault(key, value)
        if len(index) == count:
            index[key] += b", " + value

    def _on_hop(self, key: bytes, value: bytes) -> None:
        self._hops += 1
        if key == b"host":
            self._host = _joined(self._host, value)
        elif key == b"connection":
            self._options = _joined(self._options, value)
        else:
            self._hop[key] = _joined(self._hop.get(key), value)

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
        value = self._options
        if value is None:
            return NOTHING
        if value == b"keep-alive":
            return KEEP_ALIVE
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

    def _check_progress(self, data: bytes) -> None:
        """Count a read that ended within a head. One in which the head began behind another message is bounded by the
        size of a read."""
        if not self._begun or self._first:
            self._size_bytes += len(data)
            if self._size_bytes > self._limits.bytes:
                self._refuse(Reason.HEAD_TOO_LARGE, f"a head of more than {self._limits.bytes} bytes")

    def _chunked(self, version: str) -> bool:
        if not self._hop:
            return False
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

    def _malformed(self, error: Exception) -> Exception:
        """What to raise for what llhttp refused, or a callback did."""
        raise NotImplementedError

    def _refuse(self, reason: Reason, detail: str) -> None:
        raise NotImplementedError


class _Nobody:
    """Stands where a connection was."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abandon(self) -> None: ...
    def on_interim(self, status: int, phrase: bytes, headers: Headers) -> None: ...
    def on_response(self, response: object) -> None: ...
    def on_complete(self) -> None: ...


def _joined(known: bytes | None, value: bytes) -> bytes:
    """RFC 9110 5.3."""
    return value if known is None else known + b", " + value


NOBODY: Final = _Nobody()


NOTHING: Final[frozenset[bytes]] = frozenset()
KEEP_ALIVE: Final = frozenset((b"keep-alive",))
USUAL_CONNECTIONS: Final[dict[bytes, frozenset[bytes]]] = {b"Keep-Alive": KEEP_ALIVE, b"close": frozenset((b"close",))}
