"""From the loop to a collector: a bounded queue, and one thread that empties it.

The call path only appends, or counts a drop when the queue is full. Importing the SDK, connecting and sending are the
thread's, so a slow or dead collector, and even a slow import, cost no call anything.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sidecar.telemetry.meters import Tally

_log = logging.getLogger("sidecar.telemetry")

T = TypeVar("T")
Item_contra = TypeVar("Item_contra", contravariant=True)


class Sender(Protocol[Item_contra]):
    """What the thread hands its batches to. Used by that thread only, but for `stop`."""

    def send(self, batch: Sequence[Item_contra]) -> bool:
        """False if it was not delivered; it will not be tried again."""
        ...

    def stop(self) -> None:
        """Give up waiting: called from another thread at shutdown."""
        ...


@dataclass(frozen=True, slots=True)
class PumpSettings:
    signal: str
    """`traces` or `metrics`."""
    queue_items: int
    batch_items: int
    delay_s: float
    """How long items may wait for a batch to fill."""


class Pump(Generic[T]):
    """Sends items in batches. `overflowed` and `undelivered` count what was given up, each on one thread."""

    def __init__(
        self, settings: PumpSettings, connect: Callable[[], Sender[T]], overflowed: Tally, undelivered: Tally
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._overflowed = overflowed
        self._undelivered = undelivered
        self._queue: deque[T] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._failing = False
        self._sender: Sender[T] | None = None
        self._thread = threading.Thread(target=self._run, name=f"sidecar-{settings.signal}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def offer(self, item: T) -> None:
        """Take an item to be sent, or count it as dropped. Never waits. On the loop's thread."""
        queue, settings = self._queue, self._settings
        if len(queue) >= settings.queue_items:
            self._overflowed.value += 1
            return
        queue.append(item)
        if len(queue) >= settings.batch_items and not self._wake.is_set():
            self._wake.set()

    def close(self, timeout_s: float) -> None:
        """Send what is left, for as long as that; then give up. Blocks: not for the loop's thread."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if self._sender is not None:
            self._sender.stop()

    def _run(self) -> None:
        try:
            self._sender = self._connect()
        except Exception:
            _log.exception("telemetry cannot be exported", extra={"signal": self._settings.signal})
            return
        while not self._stopping:
            self._wake.wait(self._settings.delay_s)
            self._wake.clear()
            self._drain(self._sender)
        self._drain(self._sender)

    def _drain(self, sender: Sender[T]) -> None:
        queue, most = self._queue, self._settings.batch_items
        while queue:
            batch = [queue.popleft() for _ in range(min(most, len(queue)))]
            if self._sent(sender, batch):
                continue
            self._undelivered.value += len(batch)
            if self._stopping:
                self._undelivered.value += len(queue)
                queue.clear()

    def _sent(self, sender: Sender[T], batch: Sequence[T]) -> bool:
        try:
            sent = sender.send(batch)
        except Exception:
            _log.exception("telemetry could not be exported", extra={"signal": self._settings.signal})
            return False
        if sent == self._failing:
            self._failing = not sent
            if sent:
                _log.info("the collector takes telemetry again", extra={"signal": self._settings.signal})
            else:
                _log.warning("the collector does not take telemetry", extra={"signal": self._settings.signal})
        return sent
