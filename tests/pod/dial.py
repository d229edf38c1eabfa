"""HTTP from within a container's network: this machine itself has no way into the network that Pods are on."""

from __future__ import annotations

import ctypes
import http.client
import os
import socket
import threading
from contextlib import closing

CLONE_NEWNET = 0x40000000
TIMEOUT_S = 5.0


def connect(pid: int, address: tuple[str, int]) -> socket.socket:
    """A connection that was opened in the network of that process. A thread moves there, opens it and ends."""
    result: list[socket.socket | OSError] = []

    def dial() -> None:
        try:
            descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(descriptor)
            result.append(socket.create_connection(address, timeout=TIMEOUT_S))
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=dial)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


def request(pid: int, address: tuple[str, int], method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of the answer to one request."""
    connection = http.client.HTTPConnection(*address)
    connection.sock = connect(pid, address)
    with closing(connection):
        connection.request(method, path, body)
        reply = connection.getresponse()
        return reply.status, reply.read()
