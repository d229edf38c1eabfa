"""The application: steady calls, each made twice at once, through the sidecar and straight to the provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, Final, Protocol

import aiohttp

from sidecar.demo.script import Tempo
from sidecar.demo.story import Sent

CALLS_PER_S: Final = 40.0
PATIENCE_S: Final = 3.0
"""How long the application waits for an answer before it gives up, on either way."""
PRODUCTS: Final = 6
MIX: Final = ("product",) * 14 + ("rates",) * 5 + ("order",)


@dataclass(frozen=True, slots=True)
class Order:
    """One call to be made."""

    method: str
    path: str
    json: Any = None
    key: str = ""
    """The idempotency key; empty where none is needed."""

    @property
    def fields(self) -> dict[str, str]:
        return {"Idempotency-Key": self.key} if self.key else {}


def orders(random: Random) -> Iterator[Order]:
    """What the application wants, one call after the other."""
    for number in count(1):
        kind = random.choice(MIX)
        if kind == "product":
            yield Order("GET", f"/products/{random.randint(1, PRODUCTS)}")
        elif kind == "rates":
            yield Order("GET", "/rates")
        else:
            yield Order("POST", "/orders", {"product": random.randint(1, PRODUCTS)}, f"order-{number}")


class Book(Protocol):
    """Where calls are written down as they begin; they are completed as they end."""

    def append(self, sent: Sent, /) -> object: ...


class Way:
    """One of the two ways to the provider: a base URL and an ordinary client."""

    def __init__(self, base: str, book: Book, tempo: Tempo) -> None:
        self._base = base
        self._tempo = tempo
        self.book = book
        # Neither way queues on our side: a full client pool would be counted against the provider.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=tempo.real_s(PATIENCE_S)),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def call(self, order: Order) -> None:
        """Make one call and write down what came of it."""
        tempo, now = self._tempo, asyncio.get_running_loop().time
        sent = Sent(tempo.now_s, f"{order.method} {order.path}")
        self.book.append(sent)
        began_s = now()
        status, field = None, ""
        try:
            async with self._session.request(
                order.method, self._base + order.path, json=order.json, headers=order.fields
            ) as reply:
                await reply.read()
                status, field = reply.status, reply.headers.get("Sidecar", "")
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass
        sent.end(status, field, tempo.now_s, now() - began_s)

    async def close(self) -> None:
        await self._session.close()


class Traffic:
    """Makes the calls at a steady rate until it is cancelled."""

    def __init__(self, ways: tuple[Way, ...], random: Random) -> None:
        self._ways = ways
        self._orders = orders(random)
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, goes_on: Callable[[], bool]) -> None:
        """Begin calls as long as `goes_on`; then wait for those under way."""
        now = asyncio.get_running_loop().time
        due_s = now()
        while goes_on():
            self._begin(next(self._orders))
            due_s += 1 / CALLS_PER_S
            await asyncio.sleep(max(0.0, due_s - now()))
        await asyncio.gather(*self._under_way)

    async def close(self) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        for way in self._ways:
            await way.close()

    def _begin(self, order: Order) -> None:
        for way in self._ways:
            task = asyncio.get_running_loop().create_task(way.call(order))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
