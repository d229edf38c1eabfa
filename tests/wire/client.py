"""The application's side: blocking sockets, bytes as written, replies read strictly and one at a time."""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from threading import Event
from typing import Any

from tests.providers import parse_fields
from tests.wire import structured

PROBLEM_MEMBERS = {"type", "title", "status", "detail", "provider", "route", "reason", "attempts", "id"}
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9]\d\d) ([^\r\n\0]*)")


def eventually(condition: Callable[[], Any], within_s: float = 5.0, every_s: float = 0.005) -> Any:
    """Poll until `condition` is true, and give what it gave; fail loudly when it never is."""
    pause = Event()
    for _ in range(int(within_s / every_s)):
        if result := condition():
            return result
        pause.wait(every_s)
    result = condition()
    assert result, f"not so within {within_s} s"
    return result


def message(
    method: str, target: str, *lines: bytes, host: str, body: bytes | None = None, version: str = "1.1"
) -> bytes:
    """A request; each of `lines` is a field without its line end. A body gets its Content-Length."""
    length = () if body is None else (b"Content-Length: %d" % len(body),)
    start = f"{method} {target} HTTP/{version}".encode()
    return b"\r\n".join([start, b"Host: " + host.encode(), *lines, *length, b"", body or b""])


@dataclass
class Response:
    """One final reply and the interim ones before it."""

    status: int
    phrase: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    framing: str = "none"
    """How the body's end is told: none, length, chunked or close."""
    complete: bool = True
    """False when the connection ended before the body did."""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    interims: list[Response] = field(default_factory=list)

    def all(self, name: bytes) -> list[bytes]:
        return [value for known, value in self.fields if known.lower() == name.lower()]

    def one(self, name: bytes) -> bytes:
        values = self.all(name)
        assert len(values) == 1, f"{name!r} {len(values)} times in {self.fields}"
        return values[0]

    @cached_property
    def sidecar(self) -> dict[str, Any]:
        """The `Sidecar` field's values by key; `served` and the like keep their parameters out of sight."""
        return {key: item.value for key, item in structured.dictionary(self.one(b"sidecar")).items()}

    @cached_property
    def served(self) -> structured.Item | None:
        """What stands in for the provider's word, with `age` and `reason`; None for the provider's own."""
        return structured.dictionary(self.one(b"sidecar")).get("served")

    @cached_property
    def cache_status(self) -> dict[str, Any] | None:
        """The parameters of our `Cache-Status`, the last of its members; None when no cache was asked."""
        values = self.all(b"cache-status")
        if not values:
            return None
        *_, item = structured.items(b", ".join(values))
        assert item.value == "sidecar"
        assert ("hit" in item.params) != ("fwd" in item.params), "a cache forwards or it does not (RFC 9211 2)"
        return item.params

    @cached_property
    def proxy_error(self) -> str | None:
        """The error type of `Proxy-Status`, or None when the sidecar did not make this reply."""
        values = self.all(b"proxy-status")
        if not values:
            return None
        (item,) = structured.items(b", ".join(values))
        assert item.value == "sidecar"
        error = item.params["error"]
        assert isinstance(error, structured.Token), "an error type is a token (RFC 9209 2.1.1)"
        return error

    @cached_property
    def problem(self) -> dict[str, Any]:
        """The problem document, held against the shape that every one of ours has."""
        assert self.one(b"content-type") == b"application/problem+json"
        problem = json.loads(self.body)
        assert problem.keys() == PROBLEM_MEMBERS
        assert problem["status"] == self.status
        assert problem["type"].endswith(problem["reason"])
        assert problem["title"]
        assert len(problem["detail"]) > 10
        assert b"Traceback" not in self.body
        assert self.sidecar["id"] == problem["id"]
        return problem


class Client:
    """One connection. Every wait ends after `timeout_s`."""

    def __init__(self, port: int, timeout_s: float = 8.0, receive_bytes: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_bytes is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(timeout_s)
        try:
            self.sock.connect(("127.0.0.1", port))
        except OSError:
            self.sock.close()
            raise
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self.ended = False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, *data: bytes) -> None:
        self.sock.sendall(b"".join(data))

    # Reading.

    def fill(self) -> bool:
        """Wait for more bytes; False at the end of the stream, however it ended."""
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            data = b""
        self._buffer += data
        self.ended = not data
        return not self.ended

    def until(self, mark: bytes) -> bytes:
        """Everything up to and including `mark`."""
        start = 0
        while (at := self._buffer.find(mark, start)) < 0:
            start = max(0, len(self._buffer) - len(mark) + 1)
            if not self.fill():
                raise EOFError(f"the connection ended after {bytes(self._buffer)!r}")
        return self.exactly(at + len(mark))

    def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self.fill():
                raise EOFError(f"the connection ended {count - len(self._buffer)} bytes early")
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while self.fill():
            pass
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def is_closed(self) -> bool:
        """Wait for the end of the stream: True when not one more byte came before it."""
        return self.rest() == b""

    def head(self) -> Response:
        """The next status line and fields, interim or final; the body, if any, is left to read."""
        lines = self.until(b"\r\n\r\n")[:-4].split(b"\r\n")
        start = STATUS_LINE.fullmatch(lines[0])
        assert start is not None, f"not a status line: {lines[0]!r}"
        for line in lines[1:]:
            assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*", line), f"not a field: {line!r}"
        return Response(int(start[1]), start[2], parse_fields(lines[1:]))

    def response(self, method: str = "GET") -> Response:
        """The next final reply with its whole body."""
        interims = []
        response = self.head()
        while response.status < 200 and response.status != 101:
            interims.append(response)
            response = self.head()
        response.interims = interims
        if method == "HEAD" or response.status in {101, 204, 304}:
            return response
        self._read_body(response)
        return response

    def _read_body(self, response: Response) -> None:
        codings, lengths = response.all(b"transfer-encoding"), response.all(b"content-length")
        assert not (codings and lengths), "both Transfer-Encoding and Content-Length"
        if codings:
            assert codings == [b"chunked"]
            response.framing = "chunked"
            self._read_chunks(response)
        elif lengths:
            (length,) = lengths
            response.framing = "length"
            try:
                response.body = self.exactly(int(length))
            except EOFError:
                response.body, response.complete = bytes(self._buffer), False
        else:
            response.framing = "close"
            response.body = self.rest()

    def _read_chunks(self, response: Response) -> None:
        body = bytearray()
        try:
            while (data := self.chunk()) != b"":
                body += data
            lines = []
            while (line := self.until(b"\r\n")) != b"\r\n":
                lines.append(line[:-2])
            response.trailers = parse_fields(lines)
        except EOFError:
            response.complete = False
        response.body = bytes(body)

    def chunk(self) -> bytes:
        """One chunk's data; empty for the last one, whose trailer section is left to read."""
        line = self.until(b"\r\n")[:-2]
        assert re.fullmatch(rb"[0-9A-Fa-f]+", line), f"not a chunk size: {line!r}"
        size = int(line, 16)
        if size == 0:
            return b""
        data = self.exactly(size)
        assert self.exactly(2) == b"\r\n"
        return data
