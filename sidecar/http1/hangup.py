"""What the system knows of a client that the loop does not: whether it has gone, whether it has just sent something."""

from __future__ import annotations

import select
import socket
import struct
from typing import Final

from sidecar.http1.transport import Transport

HANG_UP_CHECK_S: Final = 0.05
"""How long a client's system has to answer a byte of ours."""
TCP_CLOSE: Final = 7


def has_hung_up(transport: Transport) -> bool:
    """After a byte of ours: a client that is gone has had the connection reset."""
    probe = transport.get_extra_info("socket")
    if transport.is_closing() or probe is None:
        return False
    (state,) = struct.unpack_from("B", probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8))
    return bool(state == TCP_CLOSE)


def has_unread(transport: Transport) -> bool:
    """Whether something has come that was not read yet: closing would answer it with a reset."""
    probe = transport.get_extra_info("socket")
    if transport.is_closing() or probe is None:
        return False
    poll = select.poll()
    poll.register(probe.fileno(), select.POLLIN)
    return bool(poll.poll(0))
