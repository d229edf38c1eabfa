"""The listeners: they take connections in, keep them, and sweep them once a second."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, final

from sidecar.clock import Clock
from sidecar.errors import Reason
from sidecar.http1.answer import Answer
from sidecar.http1.closing import SETTLE_S, close_listener, turn_away
from sidecar.http1.entry import Entry
from sidecar.http1.gate import Doorman, EntryOf, Gate
from sidecar.http1.limits import ServerLimits
from sidecar.http1.request import Request
from sidecar.http1.server_connection import SWEEP_S, ServerConnection
from sidecar.http1.transport import Guest

Handle = Callable[["ServerConnection", Request], Awaitable[Answer]]
Refuse = Callable[[Reason, str], Answer]
"""Makes the answer for a request that could not be read."""

YOUNG_S: Final = 1.0
"""How long at the end a connection may stay that was used lately, or is new: a request may be on its way on it."""
YOUNG_TICKS: Final = 2
"""Sweeps since its last use that make it no longer young: at least a second."""


@final
class Server:
    """Accepts connections and feeds each request to `handle`, one at a time a connection."""

    def __init__(
        self, handle: Handle, refuse: Refuse, limits: ServerLimits, clock: Clock, doorman: Doorman | None = None
    ) -> None:
        self.handle = handle
        self.refuse = refuse
        self.limits = limits
        self.clock = clock
        self.doorman = doorman
        """Decides about connections that stand at a gate; without one there are no gates."""
        self.loop = asyncio.get_running_loop()
        """Kept, since asking for the running one costs a system call in Python 3.11."""
        self.connections: set[Guest] = set()
        self.in_flight = 0
        self.accepted = 0
        self.refused = 0
        """Connections turned away because there were too many."""
        self.tick = 0
        """Sweeps so far: a clock that costs nothing to read."""
        self.stopping = False
        self.parting = False
        """Replies say that they are their connection's last."""
        # Any: uvloop's server is not asyncio's, and a compiled build holds types to their word.
        self._listeners: list[tuple[Any, EntryOf | None]] = []
        self._idle: asyncio.Event = asyncio.Event()

    async def start(self, host: str, port: int, backlog: int = 1024, entry_of: EntryOf | None = None) -> None:
        """Listen. With `entry_of`, what comes was redirected here and may be anything, so that every connection stands
        at a gate first. Raises OSError when the address cannot be had."""
        listener = await self.loop.create_server(partial(self._protocol, entry_of), host, port, backlog=backlog)
        self._listeners.append((listener, entry_of))
        if len(self._listeners) == 1:
            self._schedule()

    def _protocol(self, entry_of: EntryOf | None) -> asyncio.Protocol:
        if entry_of is None or self.doorman is None:
            return ServerConnection(self)
        return Gate(self, self.doorman, entry_of)

    def has_room(self) -> bool:
        """Count a new connection; False when there are too many."""
        self.accepted += 1
        if len(self.connections) >= self.limits.connections or self.stopping:
            self.refused += 1
            return False
        return True

    def inner(self, entry: Entry) -> ServerConnection:
        """The HTTP of a connection that a gate lets in."""
        return ServerConnection(self, entry)

    @property
    def sockets(self) -> list[socket.socket]:
        return [one for listener, _ in self._listeners for one in listener.sockets]

    def part(self) -> None:
        """Shortly before `stop`: go on as before, but have clients open a new connection for each call. So few are left
        that a client takes for usable when they are closed."""
        self.parting = True

    async def stop(self, grace_s: float) -> None:
        """Stop accepting, let calls in flight finish for `grace_s`, then close everything."""
        self.parting = True
        await self._stop_listening()
        self.stopping = True
        young_s = min(YOUNG_S, grace_s)
        for connection in list(self.connections):
            connection.close_if_idle(YOUNG_TICKS)
        await self._emptied(young_s)
        for connection in list(self.connections):
            connection.close_if_idle(0)
        await self._emptied(grace_s - young_s)
        for connection in list(self.connections):
            connection.abort()

    async def _stop_listening(self) -> None:
        """Whoever waits to be accepted has a connection, and may have sent a request: it is served as any other."""
        listeners, self._listeners = self._listeners, []
        for listener, _ in listeners:
            turn_away(listener)
        await asyncio.sleep(SETTLE_S)
        for listener, entry_of in listeners:
            for waiting in close_listener(listener):
                with contextlib.suppress(OSError):
                    await self.loop.connect_accepted_socket(partial(self._protocol, entry_of), waiting)

    async def _emptied(self, within_s: float) -> None:
        """Until no connection is left, or for as long as that."""
        if not self.connections:
            return
        self._idle.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._idle.wait()

    def on_closed(self, guest: Guest) -> None:
        self.connections.discard(guest)
        if not self.connections:
            self._idle.set()

    def _schedule(self) -> None:
        self.clock.at(self.clock.now() + SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self.tick += 1
        for connection in list(self.connections):
            connection.check(self.tick)
        if not self.stopping or self.connections:
            self._schedule()
