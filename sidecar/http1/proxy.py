"""The way out through a forward proxy: a connection to it, and a tunnel through it (RFC 9110 9.3.6).

A tunnel is asked for before the connection has an owner, on the bare socket: what comes out is dialled like any other.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, NoReturn, Protocol, final

from sidecar.errors import Reason, WireError

HEAD_BYTES: Final = 16 * 1024
"""The longest answer to a CONNECT."""
BUSY: Final = frozenset((408, 425, 429))
"""Answers below 500 that are about the moment and not about us."""

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?\r\n")
_BEGINNING: Final = b"HTTP/1."
_ENDS: Final = (b"\r\n\r\n", b"\r\n\r", b"\r\n", b"\r", b"")
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


class Connector(Protocol):
    """Opens sockets. `allows` judges each address that is dialled or, where a proxy dials it, the host asked for."""

    async def connect(self, host: str, port: int, allows: Callable[[str], bool]) -> socket.socket: ...


@final
@dataclass(frozen=True, slots=True)
class Proxy:
    """A forward proxy on the way to a provider. Connections through different ones, or for different users of one, are
    kept apart."""

    host: str
    port: int
    authorization: bytes = field(default=b"", repr=False)
    """The value of `Proxy-Authorization`; empty for none."""
    via: bytes = b""
    """Our own `Via` entry, so that a proxy which leads back to us is found out."""

    def __str__(self) -> str:
        return _authority(self.host, self.port)


@final
class ProxyDialer:
    """A `Connector` by way of a proxy.

    `may_dial` judges the proxy's own addresses. Without `tunnels` the connection ends at the proxy, which then takes
    requests in absolute form.
    """

    def __init__(self, dialer: Connector, proxy: Proxy, may_dial: Callable[[str], bool], *, tunnels: bool) -> None:
        self._dialer = dialer
        self._proxy = proxy
        self._may_dial = may_dial
        self._tunnels = tunnels

    async def connect(self, host: str, port: int, allows: Callable[[str], bool]) -> socket.socket:
        """A connected, non-blocking socket, to which nothing has been said yet. Raises WireError with `sent=False`."""
        if not allows(host):
            text = f"the sidecar asks no proxy for {host}; name it in a policy's `upstream` if that is meant"
            raise WireError(Reason.ADDRESS_DENIED, text, sent=False)
        connected = await self._reach()
        if self._tunnels:
            try:
                await self._tunnel(connected, _authority(host, port))
            except OSError as error:
                connected.close()
                self._fail(f"broke the connection ({(error.strerror or 'an error').lower()})")
            except BaseException:
                connected.close()
                raise
        return connected

    async def _reach(self) -> socket.socket:
        proxy = self._proxy
        try:
            return await self._dialer.connect(proxy.host, proxy.port, self._may_dial)
        except WireError as error:
            if error.reason is Reason.ADDRESS_DENIED:
                raise
            raise WireError(
                Reason.PROXY_FAILED, f"the outgoing proxy cannot be reached: {error.detail}", sent=False
            ) from None

    async def _tunnel(self, connected: socket.socket, authority: str) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connected, self._request(authority))
        status = 100
        while status < 200:
            found = _STATUS.match(await self._head(loop, connected))
            if found is None:
                self._fail("did not answer in HTTP/1.1")
            status = int(found[1])
        if status >= 300:
            refuse(self._proxy, authority, status)

    def _request(self, authority: str) -> bytes:
        proxy, name = self._proxy, authority.encode("ascii")
        lines = [b"CONNECT %b HTTP/1.1" % name, b"Host: " + name]
        if proxy.authorization:
            lines.append(b"Proxy-Authorization: " + proxy.authorization)
        if proxy.via:
            lines.append(b"Via: " + proxy.via)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    async def _head(self, loop: asyncio.AbstractEventLoop, connected: socket.socket) -> bytes:
        """A whole head and nothing behind it: what follows is the provider's already."""
        data = bytearray()
        while missing := _missing(data):
            if len(data) > HEAD_BYTES:
                self._fail(f"answered CONNECT with more than {HEAD_BYTES} bytes")
            piece = await loop.sock_recv(connected, missing)
            if not piece:
                self._fail("closed the connection without an answer to CONNECT")
            data += piece
            if data[: len(_BEGINNING)] != _BEGINNING[: len(data)]:
                self._fail("did not answer in HTTP/1.1")
        return bytes(data)

    def _fail(self, what: str) -> NoReturn:
        raise WireError(Reason.PROXY_FAILED, f"the outgoing proxy {self._proxy} {what}", sent=False)


def _missing(data: bytearray) -> int:
    """The least number of bytes after which a head can be whole; 0 if it is."""
    return next(left for left, end in enumerate(_ENDS) if data.endswith(end))


def refuse(proxy: Proxy, authority: str, status: int) -> NoReturn:
    """What a proxy's own answer means. Its text is not shown: it is made of HTML, and of who knows what."""
    if status == 407:
        todo = "does not accept the credentials of" if proxy.authorization else "wants credentials: see"
        text = f"the outgoing proxy {proxy} {todo} the policy's `upstream_proxy` (407)"
        raise WireError(Reason.PROXY_DENIED, text, sent=False)
    said = f"{status} {_PHRASES.get(status, '')}".rstrip()
    if 400 <= status < 500 and status not in BUSY:
        text = f"the outgoing proxy {proxy} does not let us through to {authority} ({said})"
        raise WireError(Reason.PROXY_DENIED, text, sent=False)
    text = f"the outgoing proxy {proxy} made no connection to {authority} ({said})"
    raise WireError(Reason.PROXY_FAILED, text, sent=False)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
