"""Where a redirected connection was going: the kernel's connection tracking remembers (Linux, IPv4 and IPv6)."""

from __future__ import annotations

import socket
import struct
from typing import Any, Final, Protocol

from sidecar.http1.entry import Entry
from sidecar.http1.transport import Transport

SOL_IP: Final = 0
SOL_IPV6: Final = 41
SO_ORIGINAL_DST: Final = 80
"""`linux/netfilter_ipv4.h`; IP6T_SO_ORIGINAL_DST of `linux/netfilter_ipv6/ip6_tables.h` has the same number."""
SOCKADDR_IN: Final = struct.Struct("!2xH4s8x")
SOCKADDR_IN6: Final = struct.Struct("!2xH4x16s4x")
MAPPED: Final = bytes(10) + b"\xff\xff"
"""What an IPv4 address in IPv6's clothes begins with (RFC 4291 2.5.5.2)."""


class Socket(Protocol):
    """What is asked of a socket. Every loop wraps its own."""

    def getsockname(self) -> Any: ...
    def getpeername(self) -> Any: ...
    def getsockopt(self, level: int, option: int, size: int, /) -> Any: ...


def original_destination(sock: Socket, local: tuple[str, int]) -> tuple[str, int] | None:
    """Address, as text, and port that the client dialled; None when nothing redirected it, or nobody remembers.

    A destination that is the socket's own address, `local`, counts as not redirected: to dial it would be to dial
    ourselves.
    """
    # A listener for both families gets IPv4 clients on an IPv6 socket; what they dialled is asked of IPv4 all the same.
    level, shape = (SOL_IPV6, SOCKADDR_IN6) if ":" in local[0] else (SOL_IP, SOCKADDR_IN)
    try:
        port, packed = shape.unpack(sock.getsockopt(level, SO_ORIGINAL_DST, shape.size))
    except (OSError, struct.error):
        return None  # no entry, no tracking, or not Linux
    dialled = (_text(packed), port)
    return None if dialled == local else dialled


def local_address(sock: Socket) -> tuple[str, int]:
    """A TCP socket's own end, IPv4 in IPv6's clothes as IPv4. Raises OSError when it is closed."""
    return _plain(sock.getsockname())


def entry_of(transport: Transport) -> Entry:
    """How a connection came to the transparent listener. Raises OSError when it is gone already.

    One that was not redirected was sent here by name, as where a provider's name resolves to loopback: its host is
    the address that it found us at, until its hello or its `Host` says better.
    """
    sock = transport.get_extra_info("socket")
    local = local_address(sock)
    dialled = original_destination(sock, local)
    host, port = dialled or local
    return Entry(mode="transparent", host=host, port=port, address=dialled, peer=_plain(sock.getpeername()))


def _plain(name: Any) -> tuple[str, int]:
    # Each connection asks this twice or thrice, and `ipaddress` would take 20 µs of it.
    host: str = name[0]
    port: int = name[1]
    if ":" not in host:
        return host, port
    return _text(socket.inet_pton(socket.AF_INET6, host.partition("%")[0])), port


def _text(packed: bytes) -> str:
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    if packed.startswith(MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[len(MAPPED) :])
    return socket.inet_ntop(socket.AF_INET6, packed)
