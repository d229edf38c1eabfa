"""Where a redirected connection was going: the kernel's connection tracking remembers (Linux, IPv4 and IPv6)."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, Protocol

from sidecar.http1.entry import Entry
from sidecar.http1.transport import Transport

SOL_IP: Final = 0
SOL_IPV6: Final = 41
SO_ORIGINAL_DST: Final = 80
"""`linux/netfilter_ipv4.h`; IP6T_SO_ORIGINAL_DST of `linux/netfilter_ipv6/ip6_tables.h` has the same number."""
SOCKADDR_IN: Final = struct.Struct("!2xH4s8x")
SOCKADDR_IN6: Final = struct.Struct("!2xH4x16s4x")


class Socket(Protocol):
    """What is asked of a socket. Every loop wraps its own."""

    @property
    def family(self) -> int: ...
    def getsockname(self) -> Any: ...
    def getpeername(self) -> Any: ...
    def getsockopt(self, level: int, option: int, size: int, /) -> Any: ...


def original_destination(sock: Socket) -> tuple[str, int] | None:
    """Address, as text, and port that the client dialled; None when nothing redirected it, or nobody remembers.

    A destination that is the socket's own address counts as not redirected: to dial it would be to dial ourselves.
    Raises OSError when the socket is closed.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    local = local_address(sock)
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
    dialled = original_destination(sock)
    host, port = dialled or local_address(sock)
    return Entry(mode="transparent", host=host, port=port, address=dialled, peer=_plain(sock.getpeername()))


def _plain(name: Any) -> tuple[str, int]:
    host, port, *_ = name
    return _text(ip_address(host.partition("%")[0]).packed), port


def _text(packed: bytes) -> str:
    address = ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
