"""`python -m tests.firewall.listener WHO PORT…`: answers each connection with one line that says who has got it.

WHO `uvloop`, `asyncio` and `one-socket` (one listening socket for IPv4 and IPv6) are the sidecar's transparent listener
on such a loop, and say what `entry_of` makes of the connection.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import uvloop

from sidecar.http1.original import entry_of


class Answering(asyncio.Protocol):
    """One line, and the end."""

    def __init__(self, who: str) -> None:
        self._who = who

    def connection_made(self, transport: Any) -> None:
        transport.write(f"{self._line(transport)}\n".encode())
        transport.close()

    def _line(self, transport: Any) -> str:
        if self._who in ("provider", "neighbour"):
            return self._who
        entry = entry_of(transport)
        return f"{self._who} {entry.mode} {entry.host} {entry.port} {entry.address}"


class Echo(asyncio.DatagramProtocol):
    """UDP, of which no rule says anything."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


async def serve(who: str, ports: list[int]) -> None:
    loop = asyncio.get_running_loop()
    for port in ports:
        if who == "one-socket":
            both = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
            await loop.create_server(lambda: Answering(who), sock=both)
        else:
            await loop.create_server(lambda: Answering(who), ["0.0.0.0", "::"], port)
    if 53 in ports:
        await loop.create_datagram_endpoint(Echo, ("0.0.0.0", 53))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    run = asyncio.run if sys.argv[1] == "asyncio" else uvloop.run
    run(serve(sys.argv[1], [int(port) for port in sys.argv[2:]]))
