"""The whole evening: starts provider, daemon and traffic, has the story shown, and ends all that it started."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

from sidecar.demo.daemon import Daemon
from sidecar.demo.policy import PROVIDER, policy_for
from sidecar.demo.provider import Provider
from sidecar.demo.script import LASTS_S, Health, Tempo, act_at
from sidecar.demo.story import Sent, Story
from sidecar.demo.traffic import Traffic, Way
from sidecar.errors import SettingsError

SEED: Final = 2026
"""The same day for everybody, as far as two processes can have the same day twice."""
POLL_S: Final = 0.25


class Stage(Protocol):
    """Where the story is shown."""

    @property
    def every_s(self) -> float:
        """How often to show it, in the story's seconds."""
        ...

    async def show(self, story: Story, now_s: float) -> None: ...
    def finish(self, story: Story) -> None:
        """The story is over: what it came to."""
        ...

    def say(self, line: str) -> None: ...
    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


def run(stage: Stage, *, stay: bool = False, speed: float = 1.0) -> int:
    """Play it; the exit code. Raises `SettingsError` when something cannot be started, KeyboardInterrupt on Ctrl-C.

    With `stay` the story begins again and again after its end, unseen, until something ends it.
    """
    ended_by: list[int] = []

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            ended_by.append(number)
            task.cancel()

        # A closed window must leave nothing behind either.
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end, number)
        await _play(stage, stay, Tempo(speed))

    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        return 128 + ended_by[0] if ended_by else 1
    finally:
        stage.close()
    return 0


async def _play(stage: Stage, stay: bool, tempo: Tempo) -> None:
    async with AsyncExitStack() as stack:
        provider = await _provider(stack, tempo)
        daemon = await _daemon(stack, policy_for(provider.port, tempo))
        story = Story(provider.arrivals)
        ways = (
            Way(f"{daemon.calls}/{PROVIDER}", story.with_it, tempo),
            Way(f"http://127.0.0.1:{provider.port}", story.without, tempo),
        )
        traffic = Traffic(ways, Random(SEED))
        stack.push_async_callback(traffic.close)
        tempo.start()
        polling = _beside(stack, _poll(daemon, story, tempo))
        calling = _beside(stack, traffic.run(lambda: tempo.now_s < LASTS_S))
        await _show(stage, story, tempo, daemon, calling)
        polling.cancel()
        stage.finish(story)
        if stay:
            provider.counts = False
            for way in ways:
                way.book = _Nowhere()
            stage.say(f"The day begins again and again until Ctrl-C. The daemon's own view: {daemon.admin}/")
            await traffic.run(lambda: True)


async def _provider(stack: AsyncExitStack, tempo: Tempo) -> Provider:
    def health() -> Health:
        return act_at(tempo.now_s % LASTS_S).health

    provider = Provider(tempo, health, Random(SEED))
    try:
        await provider.start()
    except OSError as error:
        raise SettingsError(f"the demo's provider has no port to listen on ({error.strerror})") from None
    stack.push_async_callback(provider.stop)
    return provider


async def _daemon(stack: AsyncExitStack, policy: str) -> Daemon:
    try:
        home = stack.enter_context(TemporaryDirectory(prefix="sidecar-demo-"))
        daemon = Daemon(Path(home), policy)
    except OSError as error:
        raise SettingsError(f"the demo has no directory for its policy ({error.strerror})") from None
    stack.push_async_callback(daemon.stop)
    await daemon.start()
    return daemon


async def _show(stage: Stage, story: Story, tempo: Tempo, daemon: Daemon, calling: asyncio.Task[Any]) -> None:
    """Show the story again and again until its last call has ended."""
    due_s = stage.every_s
    while not calling.done():
        await asyncio.wait((calling,), timeout=max(0.0, tempo.real_s(due_s - tempo.now_s)))
        daemon.check()
        if tempo.now_s >= due_s:
            await stage.show(story, tempo.now_s)
            due_s = max(due_s + stage.every_s, tempo.now_s)
    await calling


async def _poll(daemon: Daemon, story: Story, tempo: Tempo) -> None:
    while True:
        story.look(await daemon.breakers(), tempo.now_s)
        await asyncio.sleep(tempo.real_s(POLL_S))


def _beside(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run until it ends or the stack does."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(end)
    return task


class _Nowhere:
    """A book for calls that nobody will look at."""

    def append(self, sent: Sent, /) -> None: ...
