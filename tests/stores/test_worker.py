from __future__ import annotations

import asyncio
from queue import SimpleQueue
from threading import get_ident

import pytest

from sidecar.stores.worker import Worker


async def test_work_is_done_elsewhere_and_in_order() -> None:
    worker, done = Worker("test"), list[int]()
    await asyncio.gather(*[worker.run(done.append, number) for number in range(50)])
    assert done == list(range(50))
    assert await worker.run(get_ident) != get_ident()
    worker.stop()


async def test_what_is_raised_comes_back() -> None:
    worker = Worker("test")
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 / 0)
    assert await worker.run(lambda: 1) == 1
    worker.stop()


async def test_work_that_nobody_waits_for_is_still_done() -> None:
    worker, gate = Worker("test"), SimpleQueue[int]()
    waiting = asyncio.create_task(worker.run(gate.get))
    await asyncio.sleep(0)
    waiting.cancel()
    gate.put(1)
    assert await worker.run(gate.empty)
    worker.stop()


def test_a_loop_that_is_gone_is_told_nothing() -> None:
    worker, gate = Worker("test"), SimpleQueue[int]()

    async def leave() -> None:
        waiting = asyncio.create_task(worker.run(gate.get))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(leave())
    gate.put(1)
    assert asyncio.run(worker.run(gate.empty))
    worker.stop()
