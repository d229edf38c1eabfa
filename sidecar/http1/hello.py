"""A client's first bytes: is it TLS, and for whom?

Pure: bytes in, a verdict out, nothing ended or answered. The verdict depends on the bytes alone, not on the pieces in
which they come (RFC 8446 4.1.2 for the hello, 5.1 for its records).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, final

HELLO_BYTES: Final = 64 * 1024
RAW_BYTES: Final = 2 * HELLO_BYTES
"""What the hello may weigh with its records' heads, which can be smaller than they."""
RECORD_BYTES: Final = 16 * 1024

HANDSHAKE: Final = 22
CLIENT_HELLO: Final = 1
SERVER_NAME, ALPN, SUPPORTED_VERSIONS, ENCRYPTED_HELLO = 0, 16, 43, 0xFE0D
HOST_NAME: Final = 0
OUTER: Final = 0

NAME: Final = re.compile(rb"[A-Za-z0-9._:-]{1,255}")
METHODS: Final = (
    b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"TRACE ", b"CONNECT ", b"ACL ", b"BIND ",
    b"CHECKOUT ", b"COPY ", b"LINK ", b"LOCK ", b"M-SEARCH ", b"MERGE ", b"MKACTIVITY ", b"MKCALENDAR ", b"MKCOL ",
    b"MOVE ", b"NOTIFY ", b"PROPFIND ", b"PROPPATCH ", b"PURGE ", b"QUERY ", b"REBIND ", b"REPORT ", b"SEARCH ",
    b"SOURCE ", b"SUBSCRIBE ", b"UNBIND ", b"UNLINK ", b"UNLOCK ", b"UNSUBSCRIBE ",
)  # fmt: skip
"""What llhttp reads. HTTP/2's preface is not among them, and so passes for another protocol."""


class NotHello(Exception):  # noqa: N818 - a finding, not a fault
    """The bytes are no ClientHello. `kind` is `http`, `other` or `too-large`."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@final
@dataclass(frozen=True, slots=True)
class Hello:
    """What a client says before anything is encrypted."""

    server_name: str | None
    """In lower case (RFC 6066 3)."""
    alpn: tuple[bytes, ...]
    """Protocols in the client's order; none when it did not say (RFC 7301)."""
    encrypted: bool
    """There is an outer Encrypted ClientHello, so `server_name` may be the front's. Clients also send a made-up one
    (GREASE), on purpose not to be told apart from a real one."""
    versions: tuple[int, ...]
    """As on the wire: 0x0304 is TLS 1.3."""


@final
class HelloReader:
    """Feed it what comes until it gives a `Hello`; `raw` has every byte that was fed, to be handed on."""

    __slots__ = ("_at", "_message", "raw")

    def __init__(self) -> None:
        self.raw = bytearray()
        self._at = 0
        """Where in `raw` the first record begins that is not in `_message` yet."""
        self._message = bytearray()

    def feed(self, data: bytes) -> Hello | None:
        """The hello, or None when more is needed. Raises NotHello."""
        raw = self.raw
        raw += data
        if not raw:
            return None
        if self._at == 0 and raw[0] != HANDSHAKE:
            _judge_start(bytes(raw[:32]))
            return None
        while self._next_record():
            if hello := self._complete():
                return hello
        return None

    def _next_record(self) -> bool:
        """Add one record's fragment; False while it is not all there."""
        raw, at = self.raw, self._at
        waiting = len(raw) - at
        if (waiting > 0 and raw[at] != HANDSHAKE) or (waiting > 1 and raw[at + 1] != 3):
            raise NotHello("other")
        if waiting < 5:
            return False
        size = raw[at + 3] << 8 | raw[at + 4]
        if not 0 < size <= RECORD_BYTES:
            raise NotHello("other")
        end = at + 5 + size
        if end > RAW_BYTES:
            raise NotHello("too-large")
        if len(raw) < end:
            return False
        self._message += raw[at + 5 : end]
        self._at = end
        return True

    def _complete(self) -> Hello | None:
        message = self._message
        if message[0] != CLIENT_HELLO:
            raise NotHello("other")
        if len(message) < 4:
            return None
        size = int.from_bytes(message[1:4], "big")
        if size > HELLO_BYTES:
            raise NotHello("too-large")
        if len(message) < 4 + size:
            return None
        return _parse(bytes(message[4 : 4 + size]))


def _judge_start(start: bytes) -> None:
    """Raise NotHello once a beginning that is not TLS's tells what it is."""
    if start.startswith(METHODS):
        raise NotHello("http")
    if not any(method.startswith(start) for method in METHODS):
        raise NotHello("other")


@final
class _Cursor:
    """Reads vectors with a length before them (RFC 8446 3.4)."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise NotHello("other")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        """Bytes behind a length of `width` bytes."""
        return self.take(self.number(width))


def _parse(body: bytes) -> Hello:
    cursor = _Cursor(body)
    version = cursor.number(2)
    cursor.take(32)  # random
    cursor.vector(1)  # legacy_session_id
    cursor.vector(2)  # cipher_suites
    cursor.vector(1)  # legacy_compression_methods
    extensions = _extensions(cursor.vector(2)) if cursor.more else {}
    if cursor.more:
        raise NotHello("other")
    return Hello(
        _server_name(extensions.get(SERVER_NAME)),
        _protocols(extensions.get(ALPN)),
        extensions.get(ENCRYPTED_HELLO, b"\1")[:1] == bytes((OUTER,)),
        _versions(extensions.get(SUPPORTED_VERSIONS), version),
    )


def _extensions(data: bytes) -> dict[int, bytes]:
    """By type. Two of one type are refused: another reader might believe the other one."""
    found: dict[int, bytes] = {}
    cursor = _Cursor(data)
    while cursor.more:
        kind = cursor.number(2)
        if kind in found:
            raise NotHello("other")
        found[kind] = cursor.vector(2)
    return found


def _server_name(data: bytes | None) -> str | None:
    if data is None:
        return None
    names = _Cursor(_only(data, 2))
    found: bytes | None = None
    while names.more:
        kind, name = names.number(1), names.vector(2)
        if kind != HOST_NAME:
            continue
        if found is not None or NAME.fullmatch(name) is None:
            raise NotHello("other")
        found = name
    return None if found is None else found.decode("ascii").lower()


def _protocols(data: bytes | None) -> tuple[bytes, ...]:
    if data is None:
        return ()
    names, cursor = [], _Cursor(_only(data, 2))
    while cursor.more:
        names.append(cursor.vector(1))
    return tuple(names)


def _versions(data: bytes | None, legacy: int) -> tuple[int, ...]:
    if data is None:
        return (legacy,)
    versions, cursor = [], _Cursor(_only(data, 1))
    while cursor.more:
        versions.append(cursor.number(2))
    return tuple(versions)


def _only(data: bytes, width: int) -> bytes:
    """A vector that is all there is in `data`."""
    cursor = _Cursor(data)
    vector = cursor.vector(width)
    if cursor.more:
        raise NotHello("other")
    return vector
