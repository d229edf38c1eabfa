"""HTTP messages as data: fields, bodies that stream, bodies that can be sent again.

What may live here: values and the flow of bytes between one writer and one reader. No parsing, no sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias, final

HIGH_WATER_BYTES: Final = 128 * 1024
"""A body that has this much waiting stops its sender."""
CRLF: Final = b"\r\n"
HOP_BY_HOP: Final = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization",
        b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    )
)  # fmt: skip
"""Fields that concern one connection only (RFC 9110 7.6.1, RFC 9111 3.1)."""
NOTABLE: Final = HOP_BY_HOP | frozenset(
    (
        b"age", b"cache-tag", b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since",
        b"range", b"surrogate-key",
    )
)  # fmt: skip
"""Fields that a message seldom has and a cache must know of: conditions, ranges, ages, tags, and what concerns one
connection only. Whether there is any is noted as fields come, so that nobody has to look for each."""
Fields: TypeAlias = list[tuple[bytes, bytes]]


@final
class Headers:
    """End-to-end fields in the order, case and number in which they came. Names are looked up in lower case.

    All attributes may be read by anyone; change them only through the methods, which keep them in step.
    """

    __slots__ = ("fields", "index", "notable", "packed")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.fields: Fields = []
        self.index: dict[bytes, bytes] = {}
        """Values by lower-case name; of a repeated field, its values joined by `, `."""
        self.packed: bytes | None = None
        """What `pack` made of them, once somebody has asked."""
        self.notable = False
        """One of `NOTABLE` may be among them; if not, none is."""
        if fields:  # Most are made without, and filled as they are read.
            for name, value in fields:
                self.add(name, value)

    def add(self, name: bytes, value: bytes) -> None:
        """Append a field. A repeated one reads as its values joined by `, ` (RFC 9110 5.3)."""
        self.append(name.lower(), name, value)

    def append(self, key: bytes, name: bytes, value: bytes) -> None:
        """`add` for a caller that has the lower-case `key` at hand."""
        self.packed = None
        if key in NOTABLE:
            self.notable = True
        self.fields.append((name, value))
        known = self.index.get(key)
        self.index[key] = value if known is None else known + b", " + value

    def get(self, key: bytes) -> bytes | None:
        """The value of a lower-case name; of a repeated field, its values joined by `, `."""
        return self.index.get(key)

    def __contains__(self, key: bytes) -> bool:
        return key in self.index

    def all(self, key: bytes) -> list[bytes]:
        """Each value of a lower-case name, in order."""
        return [value for name, value in self.fields if name.lower() == key] if key in self.index else []

    def remove(self, key: bytes) -> None:
        """Drop every field of a lower-case name; nothing happens if there is none."""
        if self.index.pop(key, None) is not None:
            self.packed = None
            self.fields = [field for field in self.fields if field[0].lower() != key]

    def set(self, name: bytes, value: bytes) -> None:
        """Replace every field of that name by this one, at the end."""
        self.remove(name.lower())
        self.add(name, value)

    def pack(self) -> bytes:
        """The fields as one object, as a head has them: made once for whoever writes them and whoever keeps them."""
        packed = self.packed
        if packed is None:
            packed = self.packed = pack(self.fields)
        return packed

    def __repr__(self) -> str:
        """Names only: values may be secrets."""
        return f"Headers({b', '.join(name for name, _ in self.fields).decode('latin-1')})"


def pack(fields: Fields) -> bytes:
    """Field lines (RFC 9112 5) without the last one's end. No name has a colon in it, and no value a line's end."""
    lines: list[bytes] = []
    for name, value in fields:
        lines.append(b"%b: %b" % (name, value))
    return CRLF.join(lines)


def unpack(packed: bytes) -> Fields:
    """What `pack` was given."""
    if not packed:
        return []
    fields: Fields = []
    for line in packed.split(CRLF):
        name, _, value = line.partition(b": ")
        fields.append((name, value))
    return fields


class Flow(Protocol):
    """Whoever feeds a body, as its reader sees it."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abandon(self) -> None:
        """Nobody will read the rest."""
        ...


class Tunnel(Protocol):
    """The way up of an upgraded connection; the way down is the reply's body."""

    async def send(self, data: bytes) -> None: ...
    def finish(self) -> None:
        """No more bytes will be sent (a half-close)."""
        ...

    def abort(self) -> None: ...


@final
class Body:
    """The bytes of one message as they come: one feeder, one reader, at most about `HIGH_WATER_BYTES` waiting."""

    __slots__ = (
        "_done_callbacks",
        "_flow",
        "_paused",
        "_pieces",
        "_sink",
        "_waiter",
        "_waiting_bytes",
        "done",
        "error",
        "trailers",
    )

    def __init__(self, flow: Flow | None = None) -> None:
        self._flow = flow
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._done_callbacks: list[Callable[[bool], None]] | None = None
        self._sink: Callable[[bytes], None] | None = None
        self.done = False
        """True when no more bytes will be fed: the message is complete, has failed, or was discarded."""
        self.error: Exception | None = None
        self.trailers: list[tuple[bytes, bytes]] | None = None

    @classmethod
    def of(cls, data: bytes) -> Body:
        """A complete body."""
        body = cls()
        if data:
            body._pieces.append(data)
            body._waiting_bytes = len(data)
        body.done = True
        return body

    # The feeder's side.

    def feed(self, data: bytes) -> None:
        if self.done:
            return
        if self._sink is not None:
            self._sink(data)
            return
        self._pieces.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > HIGH_WATER_BYTES and not self._paused and self._flow is not None:
            self._paused = True
            self._flow.pause_reading()
        if self._waiter is not None:
            self._wake()

    def finish(self) -> None:
        """The message is complete."""
        if not self.done:
            self._end(True)

    def fail(self, error: Exception) -> None:
        """The message will never be complete; the reader gets `error` once it has read what came before."""
        if not self.done:
            self.error = error
            self._end(False)

    # The reader's side.

    async def read(self) -> bytes:
        """Whatever has come, waiting for the first of it; empty at the end. Raises what `fail` was given."""
        while not self._pieces:
            if self.done:
                if self.error is not None:
                    raise self.error
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._take()

    def ready(self) -> bytes:
        """Whatever has come, without waiting; empty if nothing has."""
        return self._take() if self._pieces else b""

    def whole(self) -> bytes | None:
        """All of it without waiting, if it is complete and well; then nothing is left to read."""
        if not self.done or self.error is not None:
            return None
        return self._take() if self._pieces else b""

    def unread(self, data: bytes) -> None:
        """Put back what was read, to be read first again."""
        if data:
            self._pieces.insert(0, data)
            self._waiting_bytes += len(data)

    def look(self) -> bytes | None:
        """`whole`, which stays to be read."""
        if not self.done or self.error is not None:
            return None
        pieces = self._pieces
        if len(pieces) > 1:
            self._pieces = pieces = [b"".join(pieces)]
        return pieces[0] if pieces else b""

    def divert(self, sink: Callable[[bytes], None]) -> None:
        """Give every piece to `sink` as it comes, those that wait at once, instead of keeping it for a reader."""
        self._sink = sink
        if self._pieces:
            sink(self._take())

    def hold(self) -> None:
        """Ask a diverted body's feeder to stop for now."""
        if not self._paused and not self.done and self._flow is not None:
            self._paused = True
            self._flow.pause_reading()

    def let_go_on(self) -> None:
        """End a `hold`."""
        if self._paused:
            self._let_go_on()

    def discard(self) -> None:
        """Nobody will read the rest: frees what waits, and tells the feeder if more would come."""
        self._pieces.clear()
        self._waiting_bytes = 0
        if not self.done:
            flow = self._flow
            self._end(False)
            if flow is not None:
                flow.abandon()

    def when_done(self, callback: Callable[[bool], None]) -> None:
        """Call back when the last byte has been fed: True if the message is complete, False if it failed or was
        discarded. At once if that is so already."""
        if self.done:
            callback(self.error is None)
        elif self._done_callbacks is None:
            self._done_callbacks = [callback]
        else:
            self._done_callbacks.append(callback)

    def _take(self) -> bytes:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._waiting_bytes = 0
        if self._paused:
            self._let_go_on()
        return data

    def _let_go_on(self) -> None:
        self._paused = False
        if self._flow is not None:
            self._flow.resume_reading()

    def _end(self, complete: bool) -> None:
        self.done = True
        if self._paused:
            # What comes next on the connection is not this body's.
            self._let_go_on()
        if self._waiter is not None:
            self._wake()
        callbacks, self._done_callbacks = self._done_callbacks, None
        if callbacks is not None:
            for callback in callbacks:
                callback(complete)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


COMPLETE: Final = Body.of(b"")
"""The body of a message that has none. It is complete, so it holds no state and is shared."""


@final
class ReplayBody:
    """A request's body that can be sent again as long as it was small enough to be kept.

    Each attempt calls `rewind` and then reads. Kept bytes are bounded by `keep_bytes`; a body that grows past it is
    streamed on, and the call can no longer be repeated.
    """

    __slots__ = ("_keep_bytes", "_kept", "_kept_bytes", "_next", "replayable", "source")

    def __init__(self, source: Body | None, keep_bytes: int = 64 * 1024) -> None:
        self.source = source
        """None when the request has no body."""
        self.replayable = True
        """False from the moment bytes have been read that are not kept."""
        self._keep_bytes = keep_bytes
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._next = 0

    @property
    def empty(self) -> bool:
        """The request has no body at all (not: one of length zero)."""
        return self.source is None

    def rewind(self) -> None:
        """Start from the first byte. Only while `replayable`, or before anything has been read."""
        self._next = 0

    def whole(self) -> bytes | None:
        """The rest of the body without waiting, if all of it is here; None otherwise."""
        source = self.source
        if source is None:
            return b""
        if not source.done or source.error is not None:
            return None
        pending = self._kept[self._next :]
        fresh = source.whole()
        if fresh:
            pending.append(fresh)
            self._keep(fresh)
        self._next = len(self._kept)
        return pending[0] if len(pending) == 1 else b"".join(pending)

    def ready(self) -> bytes:
        """What `read` would give without waiting; empty if it would wait, and at the end."""
        if self._next < len(self._kept):
            data = self._kept[self._next]
            self._next += 1
            return data
        data = b"" if self.source is None else self.source.ready()
        if data:
            self._keep(data)
            self._next = len(self._kept)
        return data

    async def read(self) -> bytes:
        """The next bytes, empty at the end. Raises what the body failed with."""
        data = self.ready()
        if data or self.source is None:
            return data
        data = await self.source.read()
        if data:
            self._keep(data)
            self._next = len(self._kept)
        return data

    def _keep(self, data: bytes) -> None:
        if not self.replayable:
            return
        self._kept_bytes += len(data)
        if self._kept_bytes > self._keep_bytes:
            self.replayable = False
            self._kept.clear()
            self._next = 0
        else:
            self._kept.append(data)


NO_BODY: Final = ReplayBody(None)
"""The body of a request that has none. It holds no state, so every such call shares it."""
