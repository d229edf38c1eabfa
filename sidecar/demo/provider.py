"""The provider: a small shop on loopback that is as well as the script says. It counts who asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

import orjson

from sidecar.clock import LoopClock
from sidecar.demo.script import Health, Tempo
from sidecar.errors import Reason
from sidecar.http1.answer import Answer
from sidecar.http1.limits import ServerLimits
from sidecar.http1.message import Body, Headers
from sidecar.http1.request import Request
from sidecar.http1.server import Server
from sidecar.http1.server_connection import ServerConnection

QUICK_S: Final = (0.02, 0.05)
SLOW_S: Final = (1.6, 2.4)
SLOW_SHARE: Final = 0.5
PHRASES: Final = {200: b"OK", 201: b"Created", 400: b"Bad Request", 500: b"Internal Server Error"}


class Arrival(NamedTuple):
    """One request that reached the provider."""

    at_s: float
    through: bool
    """It came through the sidecar."""
    sick: bool
    """The provider was not well."""


class Provider:
    """Listens on a free port of 127.0.0.1. `health` says how it is at any time."""

    def __init__(self, tempo: Tempo, health: Callable[[], Health], random: Random) -> None:
        self._tempo = tempo
        self._health = health
        self._random = random
        self._server = Server(self._answer, _refuse, ServerLimits(), LoopClock())
        self.arrivals: list[Arrival] = []
        self.counts = True
        """False when the story is over and nobody looks at `arrivals` any more."""
        self.port = 0

    async def start(self) -> None:
        """Raises OSError when there is no port to be had."""
        await self._server.start("127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        await self._server.stop(0.0)

    async def _answer(self, connection: ServerConnection, request: Request) -> Answer:
        health = self._health()
        if self.counts:
            # Every proxy adds itself to `Via` (RFC 9110 7.6.3); the application itself does not send it.
            through = b"via" in request.headers
            self.arrivals.append(Arrival(self._tempo.now_s, through, health is not Health.WELL))
        if health is Health.DARK:
            await asyncio.get_running_loop().create_future()
        slow = health is Health.SLOW and self._random.random() < SLOW_SHARE
        await asyncio.sleep(self._tempo.real_s(self._random.uniform(*(SLOW_S if slow else QUICK_S))))
        if health is Health.FAILING:
            return _reply(500, {"error": "the database is gone"})
        return _reply(201 if request.method == "POST" else 200, _document(request.target.decode("latin-1")))


def _document(target: str) -> object:
    if target == "/rates":
        return {"base": "EUR", "rates": {"USD": 1.09, "GBP": 0.85}}
    return {"path": target, "in_stock": True}


def _reply(status: int, document: object) -> Answer:
    data = orjson.dumps(document)
    headers = Headers(((b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(data))))
    return Answer(status, PHRASES[status], headers, [], Body.of(data))


def _refuse(reason: Reason, detail: str) -> Answer:
    return _reply(400, {"error": str(reason), "detail": detail})
