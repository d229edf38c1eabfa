"""From a name to a connected socket: cached resolution, an address rule, happy eyeballs."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from typing import final
from weakref import WeakValueDictionary

from aiohappyeyeballs import start_connection

from sidecar.clock import Clock
from sidecar.errors import Reason, WireError
from sidecar.http1.proxy import Connector
from sidecar.http1.raw import RawConnection

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]
"""One row of `getaddrinfo`."""

End = tuple[str, int]
"""One end of a TCP connection: an address and a port."""

EYEBALLS_DELAY_S = 0.25
"""How long one address may take before the next is tried beside it (RFC 8305 5)."""

FAILURE_TTL_S = 1.0
"""A name that did not resolve is not asked for again for this long."""


@final
class Resolver:
    """`getaddrinfo` with memory: answers are shared by concurrent askers, kept for `ttl_s`, and stand in when a later
    look-up fails. The system's resolver tells no lifetimes, so one serves for all."""

    def __init__(self, clock: Clock, ttl_s: float = 30.0) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._known: dict[tuple[str, int], tuple[float, list[Address]]] = {}
        self._failed: dict[tuple[str, int], tuple[float, str]] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Addresses in the system's order of preference, never none. Raises WireError."""
        key = (host, port)
        now_s = self._clock.now()
        known = self._known.get(key)
        if known is not None and now_s < known[0]:
            return known[1]
        failed = self._failed.get(key)
        if failed is not None and now_s < failed[0]:
            if known is not None:
                return known[1]
            raise WireError(Reason.DNS_FAILED, failed[1], sent=False)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(key))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._asking.pop(key, None))
        # Shielded: one caller's hang-up must not fail the others who wait for the same answer.
        return await asyncio.shield(task)

    async def _ask(self, key: tuple[str, int]) -> list[Address]:
        host, port = key
        try:
            rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            text = f"the name {host} could not be resolved: {error.strerror or 'no answer'}"
            self._failed[key] = (self._clock.now() + FAILURE_TTL_S, text)
            known = self._known.get(key)
            if known is not None:
                return known[1]
            raise WireError(Reason.DNS_FAILED, text, sent=False) from None
        self._failed.pop(key, None)
        self._known[key] = (self._clock.now() + self._ttl_s, rows)  # type: ignore[assignment]
        return rows  # type: ignore[return-value]


@final
class Dialer:
    """Opens sockets to providers."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._ours: WeakValueDictionary[tuple[End, End], socket.socket] = WeakValueDictionary()
        """By their near and far ends."""

    def is_own(self, near: End, far: End) -> bool:
        """Whether a connection between these ends was opened here and is not closed yet."""
        sock = self._ours.get((near, far))
        return sock is not None and sock.fileno() >= 0

    async def connect(self, host: str, port: int, allows: Callable[[str], bool]) -> socket.socket:
        """A connected, non-blocking socket. `allows` judges each resolved address, so a name that turns to a forbidden
        one is refused whatever it said before. Raises WireError, all of them with `sent=False`."""
        addresses = await self._resolver.resolve(host, port)
        allowed = [row for row in addresses if allows(row[4][0])]
        if not allowed:
            raise WireError(
                Reason.ADDRESS_DENIED,
                f"{host} resolves to {addresses[0][4][0]}, an address that the sidecar does not call;"
                " name it in a policy's `upstream` if that is meant",
                sent=False,
            )
        try:
            connected = await start_connection(allowed, happy_eyeballs_delay=EYEBALLS_DELAY_S, interleave=1)
        except OSError as error:
            raise WireError(
                Reason.CONNECT_FAILED, f"no connection to {host}:{port}: {_explain(error)}", sent=False
            ) from None
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # gone again already
            self._ours[connected.getsockname()[:2], connected.getpeername()[:2]] = connected
        return connected


async def open_raw(connector: Connector, host: str, port: int, allows: Callable[[str], bool]) -> RawConnection:
    """A connection whose bytes are left alone. Raises as `connect` does."""
    connected = await connector.connect(host, port, allows)
    connection = RawConnection()
    try:
        await asyncio.get_running_loop().create_connection(lambda: connection, sock=connected)
    except OSError as error:
        connected.close()
        raise WireError(Reason.CONNECT_FAILED, f"the connection broke at once: {error}", sent=False) from None
    except BaseException:
        connection.abort()
        connected.close()
        raise
    return connection


def _explain(error: OSError) -> str:
    if error.errno is None or error.errno not in errno.errorcode:
        return "every address failed"
    return os.strerror(error.errno).lower()
