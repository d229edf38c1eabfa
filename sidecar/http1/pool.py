"""Connections to one origin: kept warm, bounded, handed out last in first out."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from sidecar.clock import Alarm, Clock
from sidecar.errors import Reason, WireError
from sidecar.http1.connection import Exchange, ProviderConnection
from sidecar.http1.limits import PoolLimits
from sidecar.http1.proxy import Connector, Proxy
from sidecar.http1.response import Response
from sidecar.http1.tls import TlsClient, TlsSettings, client_context

SWEEP_S: Final = 1.0
OPENING_AT_ONCE: Final = 16
KEEP_ALIVE_MARGIN_S: Final = 2.0
"""How much sooner than the provider we close: a sweep, and the way there."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a provider's bytes go. Equal origins share a pool."""

    host: str
    port: int
    tls: TlsSettings | None
    """None for `http://`."""
    private: bool = False
    """Whether a policy names this upstream, so that private and loopback addresses are meant."""
    proxy: Proxy | None = None
    """Through which its connections go."""

    @property
    def place(self) -> str:
        """For errors: where we wanted to go, and by what way."""
        through = "" if self.proxy is None else f" through the outgoing proxy {self.proxy}"
        return f"{self.host}:{self.port}{through}"


@final
class Pool:
    """Sends exchanges to one origin."""

    def __init__(
        self, origin: Origin, dialer: Connector, allows: Callable[[str], bool], limits: PoolLimits, clock: Clock
    ) -> None:
        self.origin = origin
        self._dialer = dialer
        self._allows = allows
        self._limits = limits
        self._clock = clock
        self._now = clock.now
        self._idle: dict[int, list[ProviderConnection]] = {}
        self._all: set[ProviderConnection] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._context: ssl.SSLContext | None = None
        self._session: ssl.SSLSession | None = None
        self._busy_idle_s: dict[ProviderConnection, tuple[int, float, float]] = {}
        self._sweep: Alarm | None = None
        self.opened = 0
        """Connections ever opened."""

    @property
    def open(self) -> int:
        return len(self._all)

    @property
    def idle(self) -> int:
        return sum(map(len, self._idle.values()))

    async def exchange(self, exchange: Exchange) -> tuple[Response, ProviderConnection]:
        """The reply's head, and the connection it came on. Raises WireError."""
        connection = self._take(exchange) or await self._open(exchange)
        while True:
            exchange.body.rewind()
            connection.deadline.watch(exchange.deadline_s, connection.expire)
            try:
                response = await connection.begin(exchange)
            except WireError as error:
                if not _may_replace(connection, exchange, error):
                    raise
            except asyncio.CancelledError:
                connection.abort()
                raise
            else:
                if connection.exchanges == 1 and connection.tls is not None:
                    self._session = connection.tls.session
                if not response.body.done and response.status != 101:
                    self._busy_idle_s[connection] = (connection.progress, self._clock.now(), exchange.idle_s)
                    self._watch()
                return response, connection
            finally:
                connection.deadline.lift()
            connection = await self._open(exchange)

    # Taking and opening.

    def _take(self, exchange: Exchange) -> ProviderConnection | None:
        idle = self._idle.get(exchange.key)
        while idle:
            connection = idle.pop()
            if exchange.repeatable or connection.looks_alive():
                return connection
            connection.close()
        return None

    def _expired(self, connection: ProviderConnection) -> bool:
        limit_s = self._limits.idle_s
        if connection.keep_alive_s is not None:
            limit_s = min(limit_s, connection.keep_alive_s - KEEP_ALIVE_MARGIN_S)
        return self._clock.now() - connection.idle_since_s > limit_s

    async def _open(self, exchange: Exchange) -> ProviderConnection:
        while not self._may_open():
            await self._wait(exchange.deadline_s)
            connection = self._take(exchange)
            if connection is not None:
                return connection
        self._opening += 1
        try:
            # In a task, since the time limit needs one.
            return await asyncio.get_running_loop().create_task(self._connect_in_time(exchange))
        finally:
            self._opening -= 1
            self._wake()

    def _may_open(self) -> bool:
        """Calls that find no idle connection do not all open one: after a stall of ours they would come by the hundred,
        and the handshakes would be the next stall. Those over the bound wait for whichever comes free first."""
        if self._opening >= OPENING_AT_ONCE:
            return False
        return len(self._all) + self._opening < self._limits.connections or self._evict()

    async def _connect_in_time(self, exchange: Exchange) -> ProviderConnection:
        try:
            async with asyncio.timeout(max(0.0, min(exchange.connect_s, exchange.deadline_s - self._clock.now()))):
                return await self._connect(exchange.key)
        except TimeoutError:
            raise WireError(
                Reason.CONNECT_TIMEOUT,
                f"no connection to {self.origin.place} within {exchange.connect_s:g} s",
                sent=False,
            ) from None

    async def _connect(self, key: int) -> ProviderConnection:
        origin = self.origin
        # Before there is a socket, which nobody would close if this failed or took too long.
        tls = None if origin.tls is None else await self._tls(origin.tls)
        connected = await self._dialer.connect(origin.host, origin.port, self._allows)
        loop = asyncio.get_running_loop()
        connection = ProviderConnection(self, self._limits.head, key, tls, loop, self._clock)
        try:
            await loop.create_connection(lambda: connection, sock=connected)
            self._all.add(connection)
            await connection.open()
        except OSError as error:
            connected.close()
            raise WireError(Reason.CONNECT_FAILED, f"the connection broke at once: {error}", sent=False) from None
        except WireError as error:
            error.sent = False
            raise
        except BaseException:
            connection.abort()
            connected.close()
            raise
        self.opened += 1
        return connection

    async def _tls(self, settings: TlsSettings) -> TlsClient:
        try:
            if self._context is None:
                # In a thread: reading the system's roots takes tens of milliseconds.
                self._context = await asyncio.to_thread(client_context, settings)
            return TlsClient(self._context, self.origin.host, self._session)
        except (OSError, ValueError) as error:
            raise WireError(Reason.TLS_FAILED, f"the policy's TLS files are unusable: {error}", sent=False) from None

    def _evict(self) -> bool:
        """Close another credential's idle connection to make room."""
        for idle in self._idle.values():
            if idle:
                idle.pop(0).close()
                return True
        return False

    async def _wait(self, deadline_s: float) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        alarm = self._clock.at(deadline_s, lambda: self._give_up(waiting))
        self._waiting.append(waiting)
        try:
            await waiting
        except BaseException:
            # A turn that came in the same instant passes to the next in line.
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._wake()
            raise
        finally:
            alarm.cancel()
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _give_up(self, waiting: asyncio.Future[None]) -> None:
        if not waiting.done():
            text = f"all {self._limits.connections} connections to {self.origin.host} are busy"
            waiting.set_exception(WireError(Reason.POOL_EXHAUSTED, text, sent=False))

    def _wake(self) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    # What connections say.

    def on_idle(self, connection: ProviderConnection) -> None:
        connection.idle_since_s = self._now()
        if self._busy_idle_s:
            self._busy_idle_s.pop(connection, None)
        idle = self._idle.get(connection.key)
        if idle is None:
            self._idle[connection.key] = [connection]
        else:
            idle.append(connection)
        if self._waiting:
            self._wake()
        if self._sweep is None:
            self._watch()

    def on_gone(self, connection: ProviderConnection) -> None:
        self._all.discard(connection)
        self._busy_idle_s.pop(connection, None)
        idle = self._idle.get(connection.key)
        if idle is not None:
            if connection in idle:
                idle.remove(connection)
            if not idle:
                del self._idle[connection.key]
        self._wake()

    # Ageing.

    def _watch(self) -> None:
        if self._sweep is None:
            self._sweep = self._clock.at(self._clock.now() + SWEEP_S, self._age)

    def _age(self) -> None:
        """Close what has been idle too long, and fail replies whose body has stalled."""
        self._sweep = None
        now_s = self._clock.now()
        for connection in [one for idle in self._idle.values() for one in idle if self._expired(one)]:
            connection.close()
        for connection, (progress, since_s, idle_s) in list(self._busy_idle_s.items()):
            if connection.progress != progress or connection.reading_paused:
                self._busy_idle_s[connection] = (connection.progress, now_s, idle_s)
            elif now_s - since_s > idle_s:
                connection.fail(
                    WireError(Reason.REPLY_INCOMPLETE, f"the provider sent nothing for {idle_s:g} s in mid-reply")
                )
        if self._idle or self._busy_idle_s:
            self._watch()

    def close(self) -> None:
        """Close idle connections now, and the others as they become idle."""
        self._limits = PoolLimits(self._limits.connections, -1.0, self._limits.head)
        for connection in [one for idle in self._idle.values() for one in idle]:
            connection.close()

    def abort(self) -> None:
        """Close everything now."""
        for connection in list(self._all):
            connection.abort()


def _may_replace(connection: ProviderConnection, exchange: Exchange, error: WireError) -> bool:
    """Whether the connection died idle, as kept ones do: nothing of a reply has come, so nothing is lost by asking
    anew, unless the provider may have acted on a request that must not be sent twice."""
    died_idle = error.reason is Reason.CONNECTION_LOST and connection.exchanges > 1
    return died_idle and exchange.repeatable and exchange.body.replayable
