"""Closing a listener so that nobody who has connected is reset.

The kernel resets what still waits to be accepted when a listener closes. Accepting it all first leaves a gap of
microseconds, which busy clients find: of 320 that called on and on while 80 listeners were closed, 2 were reset.
So new connections are not answered any more before that: to their clients the packet was lost, and the second one they
send finds the port closed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from array import array
from typing import Any, Final

SETTLE_S: Final = 0.002
"""How long a handshake that has begun may take to be over: both ends are on this machine."""
_SO_ATTACH_FILTER: Final = 26
_FILTER: Final = array(
    "B",
    b"".join(
        (
            struct.pack("HBBI", 0x30, 0, 0, 13),  # A = the flags of the TCP header
            struct.pack("HBBI", 0x54, 0, 0, 0x12),  # A &= SYN | ACK
            struct.pack("HBBI", 0x15, 0, 1, 0x02),  # if A != SYN: skip one
            struct.pack("HBBI", 0x06, 0, 0, 0),  # drop
            struct.pack("HBBI", 0x06, 0, 0, 0xFFFFFFFF),  # keep
        )
    ),
)
"""Classic BPF that drops what opens a connection, and lets through what belongs to one."""


def turn_away(listener: Any) -> None:
    """Let no new handshake begin. Where the kernel does not know how, they go on."""
    address, _ = _FILTER.buffer_info()
    for handle in _handles(listener):
        with handle, contextlib.suppress(OSError):
            handle.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 5, address))


def close_listener(listener: Any) -> list[socket.socket]:
    """Close one of the loop's listeners. Gives those that were waiting in its queue, accepted."""
    # The queue lives as long as any handle on it does.
    handles = _handles(listener)
    listener.close()
    waiting: list[socket.socket] = []
    for handle in handles:
        with handle:
            waiting += _accepted(handle)
    return waiting


def _handles(listener: Any) -> list[socket.socket]:
    return [socket.socket(fileno=os.dup(one.fileno())) for one in listener.sockets]


def _accepted(handle: socket.socket) -> list[socket.socket]:
    accepted: list[socket.socket] = []
    handle.setblocking(False)
    while True:
        try:
            waiting, _ = handle.accept()
        except ConnectionAbortedError:
            continue
        except OSError:  # nobody is left, or no file for them
            return accepted
        waiting.setblocking(False)
        accepted.append(waiting)
