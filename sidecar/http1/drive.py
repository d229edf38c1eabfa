"""Runs a coroutine from the callbacks that it waits for, with no turn of the event loop in between.

A task costs a future, a queue entry and a turn of the loop each time it waits, twice a call. What a call nearly always
waits for is the provider's reply, and whoever reads that reply can as well go on with the call: a `Drive` is stepped by
the `Signal` that its coroutine awaits. Futures work too, so only what asks for the current task (`asyncio.timeout`,
`asyncio.TaskGroup`) must be given a task of its own. The figures are in `docs/architecture.md`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Final, Generic, TypeVar, final

log = logging.getLogger(__name__)

T = TypeVar("T")

ENDED: Final = object()


@final
class Signal(Generic[T]):
    """A value that will come once, for one waiter. A `Drive` that awaits it goes on within `set_result`.

    It has as much of a future's face as a task needs, so that tests and tools may await it from one."""

    __slots__ = ("_asyncio_future_blocking", "_context", "_drive", "_error", "_loop", "_result", "_wake", "is_done")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._drive: Drive | None = None
        self._wake: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._result: T | None = None
        self._error: BaseException | None = None
        self.is_done = False

    def set_result(self, result: T) -> None:
        self.put(result)
        self.wake()

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self.is_done = True
        self.wake()

    def put(self, result: T) -> None:
        """Set the result and let the waiter wait until `wake`."""
        self._result = result
        self.is_done = True

    def wake(self) -> None:
        drive, self._drive = self._drive, None
        wake, self._wake = self._wake, None
        if drive is not None:
            drive.step()
        elif wake is not None:
            self._loop.call_soon(wake, self, context=self._context)

    def __await__(self) -> Generator[Any, None, T]:
        if not self.is_done:
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    def on_done(self, drive: Drive) -> None:
        """Step `drive` as soon as the value is there, from where it is set."""
        self._drive = drive

    # A future's face.

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, wake: Callable[[Any], object], *, context: Context | None = None) -> None:
        self._wake, self._context = wake, context

    def cancel(self, msg: object = None) -> bool:
        if self.is_done:
            return False
        self.set_exception(asyncio.CancelledError())
        return True


@final
class Drive:
    """One coroutine on its way. It starts at once; `on_end` is called when it has returned, raised or been stopped."""

    __slots__ = ("_awaited", "_cancelling", "_loop", "_on_end", "_waits")

    def __init__(
        self, coroutine: Coroutine[Any, None, None], on_end: Callable[[], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._waits = coroutine.__await__()
        self._on_end = on_end
        self._loop = loop
        self._awaited: Any = None
        self._cancelling = False
        self.step()

    def cancel(self) -> None:
        """Raise CancelledError where the coroutine waits, or will wait next."""
        if self._awaited is None:
            self._cancelling = True
        else:
            self._awaited.cancel()

    def step(self, _: object = None) -> None:
        """Go on to where the coroutine waits next, or to its end."""
        self._awaited = None
        try:
            awaited = self._go_on()
        except asyncio.CancelledError:
            awaited = ENDED
        except Exception:
            log.exception("a connection's work failed")
            awaited = ENDED
        if awaited is ENDED:
            self._on_end()
            return
        if awaited is None:
            # `asyncio.sleep(0)`: a turn of the loop and nothing more.
            awaited = self._loop.create_future()
            self._loop.call_soon(_let_go, awaited)
        self._awaited = awaited
        if isinstance(awaited, Signal):
            awaited.on_done(self)
        else:
            # As a task does: the flag tells a future that it is awaited properly.
            awaited._asyncio_future_blocking = False
            awaited.add_done_callback(self.step)
        if self._cancelling:
            self._cancelling = False
            awaited.cancel()

    def _go_on(self) -> Any:
        """What the coroutine waits for next, or `ENDED`. Asked by a loop, it can end without raising StopIteration, and
        an exception costs as much as all the rest of a step."""
        for awaited in self._waits:
            return awaited
        return ENDED


def _let_go(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
