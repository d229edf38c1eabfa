"""A forward proxy over real sockets: tunnels, absolute form, credentials, and every way to be a bad one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from tests.providers import Provider


class ForwardProxy:
    """`answer` is sent to everything in place of serving it; an empty one hangs up, and None serves.

    With `stalls` it reads requests and says nothing. `hosts` maps names to where they really are.
    """

    def __init__(
        self,
        *,
        authorization: bytes | None = None,
        answer: bytes | None = None,
        stalls: bool = False,
        hosts: dict[str, tuple[str, int]] | None = None,
        established: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n",
    ) -> None:
        self.heads: list[bytes] = []
        self.port = 0
        self._authorization = authorization
        self._answer = answer
        self._stalls = stalls
        self._hosts = hosts or {}
        self._established = established

    @property
    def request_lines(self) -> list[bytes]:
        return [head.partition(b"\r\n")[0] for head in self.heads]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ForwardProxy]:
        provider = Provider(lambda connection: self._connected(connection.reader, connection.writer))
        await provider.start()
        self.port = provider.port
        try:
            yield self
        finally:
            await provider.stop()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await self._serve(reader, writer):
            pass

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self._stalls:
            await reader.read()
            return False
        if self._answer is not None:
            writer.write(self._answer)
            return False
        if self._authorization is not None and b"Proxy-Authorization: " + self._authorization not in head.split(
            b"\r\n"
        ):
            writer.write(b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic\r\nContent-Length: 3\r\n\r\nwho")
            return True
        method, target, _ = head.partition(b"\r\n")[0].split()
        if method == b"CONNECT":
            await self._tunnel(target.decode(), reader, writer)
            return False
        await self._pass_on(target.decode(), head, writer)
        return True

    def _place(self, authority: str, usual_port: int) -> tuple[str, int]:
        parts = urlsplit(f"//{authority}")
        host = parts.hostname or ""
        return self._hosts.get(host) or (host, parts.port or usual_port)

    async def _tunnel(self, authority: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._place(authority, 443))
        try:
            writer.write(self._established)
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.transport.abort()

    async def _pass_on(self, url: str, head: bytes, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(url)
        first, _, rest = head.partition(b"\r\n")
        method = first.split()[0]
        path = (parts.path or ("*" if method == b"OPTIONS" else "/")) + (f"?{parts.query}" if parts.query else "")
        lines = [line for line in rest.split(b"\r\n") if not line.lower().startswith(b"proxy-")]
        far_reader, far_writer = await asyncio.open_connection(*self._place(parts.netloc, 80))
        try:
            far_writer.write(b"%b %b HTTP/1.1\r\n" % (method, path.encode()) + b"\r\n".join(lines))
            reply = await far_reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", reply)
            writer.write(reply + (await far_reader.readexactly(int(length[1])) if length else b""))
        finally:
            far_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()
