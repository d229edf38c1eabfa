"""What goes back to an application, and the bytes that say it."""

from __future__ import annotations

from typing import Final, final

from sidecar.http1.connection import last_chunk
from sidecar.http1.entry import Entry
from sidecar.http1.message import COMPLETE, Body, Headers, Tunnel
from sidecar.http1.request import Request


@final
class Answer:
    """What goes back to the application: a provider's reply passed on, or one made here."""

    __slots__ = ("body", "close", "extra", "gate", "headers", "phrase", "status", "tunnel", "upgrade")

    def __init__(  # noqa: PLR0917
        self,
        status: int,
        phrase: bytes,
        headers: Headers,
        extra: list[tuple[bytes, bytes]] | None = None,
        body: Body = COMPLETE,
        tunnel: Tunnel | None = None,
        upgrade: bytes | None = None,
        close: bool = False,
        gate: Entry | None = None,
    ) -> None:
        self.status = status
        self.phrase = phrase
        self.headers = headers
        self.extra = [] if extra is None else extra
        """Fields of ours, written after `headers`."""
        self.body = body
        self.tunnel = tunnel
        """After a 101: where the client's bytes go; what comes back is `body`."""
        self.upgrade = upgrade
        self.close = close
        self.gate = gate
        """After a 200 to CONNECT: how the connection comes in, whatever it will carry."""


def head_of(request: Request, answer: Answer, keep: bool, chunked: bool) -> bytes:
    """The head, with what this connection needs said: its framing, and whether it stays."""
    lines = [_status_line(answer.status, answer.phrase)]
    packed = answer.headers.packed
    if packed:
        lines.append(packed)
    else:
        for name, value in answer.headers.fields:
            lines.append(b"%b: %b" % (name, value))
    for name, value in answer.extra:
        lines.append(b"%b: %b" % (name, value))
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
    if answer.upgrade is not None:
        closing = b"" if keep or answer.tunnel is not None else b", close"
        lines.append(b"Upgrade: %b\r\nConnection: Upgrade%b" % (answer.upgrade, closing))
    elif not keep:
        lines.append(b"Connection: close")
    elif request.version == "1.0":
        lines.append(b"Connection: keep-alive")
    lines.append(END)
    return b"\r\n".join(lines)


def interim_head(status: int, phrase: bytes, headers: Headers) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 %d %b" % (status, phrase), *map(b": ".join, headers.fields), END])


def framed(head: bytes, data: bytes, body: Body) -> bytes:
    """A head and a whole body in one chunk."""
    if data:
        return b"%b%x\r\n%b\r\n%b" % (head, len(data), data, last_chunk(body.trailers))
    return head + last_chunk(body.trailers)


def _status_line(status: int, phrase: bytes) -> bytes:
    return USUAL_LINES.get((status, phrase)) or b"HTTP/1.1 %d %b" % (status, phrase)


USUAL_LINES: Final = {(200, b"OK"): b"HTTP/1.1 200 OK", (201, b"Created"): b"HTTP/1.1 201 Created"}
BODILESS: Final = frozenset((204, 304))
END: Final = b"\r\n"
"""The last line's own end, and the empty line."""
NO_REQUEST: Final = Request("GET", b"", "1.1", Headers())
