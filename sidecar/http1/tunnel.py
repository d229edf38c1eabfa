"""What becomes of a connection that was HTTP: a gate, a splice, or the other protocol of an upgrade."""

from __future__ import annotations

from typing import Protocol

from sidecar.http1 import gate
from sidecar.http1.answer import Answer
from sidecar.http1.message import Body, Tunnel
from sidecar.http1.raw import RawConnection
from sidecar.http1.splice import Splicing
from sidecar.http1.transport import RawTransport


class House(gate.House, Protocol):
    """The server, as one who leaves HTTP sees it."""

    doorman: gate.Doorman | None


def hand_over(house: House, transport: RawTransport, answer: Answer, read: bytes) -> None:
    """After a 200 to CONNECT: a gate finds out what the connection carries, or, where its provider is connected
    already, it passes through. `read` came behind the request."""
    if isinstance(answer.tunnel, RawConnection):
        Splicing(house).join(transport, read, answer.tunnel)
    elif answer.gate is not None and house.doorman is not None:
        gate.Gate(house, house.doorman).take_over(transport, answer.gate, read)
    else:
        transport.abort()
        raise TypeError("a 2xx to CONNECT with no gate and nothing behind it")


async def pump(up: Body, tunnel: Tunnel) -> None:
    """Send what the client says, until it has said all."""
    while data := await up.read():
        await tunnel.send(data)
    tunnel.finish()
