"""What breakers and limiters know, in a file that outlives the process: read at the start, written when it changes.

No call waits for it: a change only sets an alarm. A thread writes, at most once a second, so the last second before a
kill may be lost. What cannot be read or written is said once and done without.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
from pathlib import Path
from typing import Final

from sidecar.clock import Alarm, Clock
from sidecar.files import PRIVATE, replace, sweep
from sidecar.policy.keep import Keep
from sidecar.policy.memory import Memories, NotMemories, decode, encode

log = logging.getLogger(__name__)

BREAKERS_FILE: Final = "breakers.json"
LOCK_FILE: Final = "sidecar.lock"
GATHER_S: Final = 0.1
"""What changes together is written together."""
APART_S: Final = 1.0
"""Between two writes, at least."""
AGAIN_S: Final = 10.0
"""How long after one that failed the next is tried."""
MOST_BYTES: Final = 64 * 1024 * 1024
SHARED: Final = "another sidecar uses this state directory"
SHARED_SAID: Final = (
    "another sidecar uses this state directory: as long as it does, what breakers learn here is not kept"
)
NOT_READ: Final = "what breakers knew before the restart cannot be used: it was set aside, and they start closed"
NOT_WRITTEN: Final = "what breakers know cannot be kept: after a restart they will start closed"


class BreakersFile:
    """Keeps a `Keep`'s memories in `state`. Of sidecars that share the directory only one writes."""

    def __init__(self, state: Path, keep: Keep, clock: Clock) -> None:
        self._path = state / BREAKERS_FILE
        self._keep = keep
        self._clock = clock
        self._lock = _Lock(state / LOCK_FILE)
        self._alarm: Alarm | None = None
        self._task: asyncio.Task[None] | None = None
        self._not_before_s = 0.0
        self._dirty = False
        self.trouble = ""
        """Why it cannot be written just now; empty while it can."""

    def load(self) -> None:
        """Have the keep begin where the last process left it, and tell of its changes from now on."""
        if not self._lock.take():
            self.trouble = SHARED
            log.warning(SHARED_SAID, extra={"file": LOCK_FILE})
        memories = self._read()
        if len(memories):
            self._keep.recall(memories)
            log.info("breakers and limits go on as before the restart", extra={"count": len(memories)})
        self._keep.changed = self._on_changed

    async def close(self) -> None:
        """Write what has not been written yet."""
        self._keep.changed = _nobody
        if self._alarm is not None:
            self._alarm.cancel()
        if self._task is not None:
            await self._task
        if self._dirty:
            await self._write()
        self._lock.let_go()

    # Reading.

    def _read(self) -> Memories:
        try:
            sweep(self._path)
            with self._path.open("rb") as file:
                data = file.read(MOST_BYTES)
            return decode(data, self._clock.now(), self._clock.wall())
        except FileNotFoundError:
            return Memories()
        except NotMemories as unfit:
            reason = str(unfit)
        except OSError:
            reason = "unreadable"
        self._set_aside(reason)
        return Memories()

    def _set_aside(self, reason: str) -> None:
        """So that somebody may look at it."""
        log.warning(NOT_READ, extra={"file": BREAKERS_FILE, "reason": reason})
        if self.trouble != SHARED:
            try:
                self._path.rename(self._path.with_name(f"{BREAKERS_FILE}.{reason}"))
            except OSError as error:
                self._say(error)

    # Writing.

    def _on_changed(self) -> None:
        """On the path of calls."""
        self._dirty = True
        if self._alarm is None and self._task is None:
            self._alarm = self._clock.at(max(self._clock.now() + GATHER_S, self._not_before_s), self._wake)

    def _wake(self) -> None:
        self._alarm = None
        self._task = asyncio.get_running_loop().create_task(self._write(), name="sidecar-breakers")
        self._task.add_done_callback(self._on_written)

    def _on_written(self, _task: asyncio.Task[None]) -> None:
        self._task = None
        if self._dirty and self._keep.changed == self._on_changed:
            self._on_changed()

    async def _write(self) -> None:
        now_s = self._clock.now()
        if not self._lock.take():
            self._not_before_s = now_s + AGAIN_S
            return
        self._dirty = False
        self._not_before_s = now_s + APART_S
        data = encode(self._keep.memories(), now_s, self._clock.wall())
        try:
            await asyncio.to_thread(replace, self._path, data, PRIVATE)
        except OSError as error:
            self._dirty = True
            self._not_before_s = now_s + AGAIN_S
            self._say(error)
        else:
            self.trouble = ""

    def _say(self, error: OSError) -> None:
        reason = os.strerror(error.errno or 0).lower()
        if reason != self.trouble:
            log.warning(NOT_WRITTEN, extra={"file": BREAKERS_FILE, "reason": reason})
        self.trouble = reason


class _Lock:
    """Whose the directory is. The kernel lets go of it with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1

    @property
    def held(self) -> bool:
        return self._handle >= 0

    def take(self) -> bool:
        """True if it is ours, or if locks are unknown there."""
        if self.held:
            return True
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        except OSError:
            return True  # The volume has become full or read-only: a write will tell what of it.
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
        self._handle = handle
        return True

    def let_go(self) -> None:
        if self.held:
            os.close(self._handle)
            self._handle = -1


def _nobody() -> None:
    """Nothing is written any more."""
