"""The provider over real sockets: as well as it is told to be, and counting who asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import aiohttp
import pytest

from sidecar.demo.provider import Provider
from sidecar.demo.script import Health, Tempo


class Shop:
    """A provider whose health a test sets, and a client."""

    def __init__(self) -> None:
        self.health = Health.WELL
        self.provider = Provider(Tempo(20.0), lambda: self.health, Random(1))
        self.session = aiohttp.ClientSession()

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self.session.request(method, f"http://127.0.0.1:{self.provider.port}{path}", **more) as reply:
            return reply.status, await reply.json()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    await shop.provider.start()
    yield shop
    await shop.session.close()
    await shop.provider.stop()


async def test_well(shop: Shop) -> None:
    assert await shop.ask("GET", "/products/3") == (200, {"path": "/products/3", "in_stock": True})
    assert (await shop.ask("GET", "/rates"))[1]["base"] == "EUR"
    assert (await shop.ask("POST", "/orders", json={"product": 3}))[0] == 201


async def test_failing(shop: Shop) -> None:
    shop.health = Health.FAILING
    assert (await shop.ask("GET", "/rates"))[0] == 500


async def test_slow_means_some(shop: Shop) -> None:
    shop.health = Health.SLOW
    now = asyncio.get_running_loop().time

    async def timed() -> float:
        began_s = now()
        await shop.ask("GET", "/rates")
        return now() - began_s

    took = sorted(await asyncio.gather(*(timed() for _ in range(12))))
    assert took[-1] > 0.08 > took[0]


async def test_dark_takes_the_call_and_never_answers(shop: Shop) -> None:
    shop.health = Health.DARK
    with pytest.raises(TimeoutError):
        await shop.ask("GET", "/rates", timeout=aiohttp.ClientTimeout(total=0.1))
    assert len(shop.provider.arrivals) == 1


async def test_it_tells_who_asks_and_how_it_was(shop: Shop) -> None:
    await shop.ask("GET", "/rates")
    shop.health = Health.FAILING
    await shop.ask("GET", "/rates", headers={"Via": "1.1 sidecar"})
    shop.provider.counts = False
    await shop.ask("GET", "/rates")
    assert [(arrival.through, arrival.sick) for arrival in shop.provider.arrivals] == [(False, False), (True, True)]
