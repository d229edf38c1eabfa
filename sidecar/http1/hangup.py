"""Whether a client that will send no more has gone, or waits for its reply: a FIN looks the same either way."""

from __future__ import annotations

import socket
import struct

from sidecar.http1.transport import Transport

HANG_UP_CHECK_S = 0.05
"""How long a client's system has to answer a byte of ours."""
TCP_CLOSE = 7


def has_hung_up(transport: Transport) -> bool:
    """After a byte of ours: a client that is gone has had the connection reset."""
    probe = transport.get_extra_info("socket")
    if transport.is_closing() or probe is None:
        return False
    (state,) = struct.unpack_from("B", probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8))
    return bool(state == TCP_CLOSE)
