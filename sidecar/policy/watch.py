"""Noticing that policy files changed, by looking at them: it works on every mount, and through a ConfigMap's swap.

What may live here: when to say so. Loading what changed, and keeping what is good, is `sources.py`'s. A file that is
mounted by `subPath` never changes, since Kubernetes never updates it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from sidecar.clock import Clock
from sidecar.policy.files import find_files

log = logging.getLogger(__name__)

MANY_FILES = 50
"""From this number on, looking at them takes long enough to belong in a thread."""
MOST_UNSETTLED = 3
"""Scans in a row that may differ before the change is acted on anyway."""

Signature = tuple[tuple[str, int, int, int], ...]


class PolicyWatch:
    """Calls back when the set of files, or one of them, is not what it was.

    A change is acted on once two scans in a row agree, so that a file is not read while it is being written; a set
    that never settles is acted on after `MOST_UNSETTLED` scans, which is safe since a broken file replaces nothing.
    """

    def __init__(
        self, paths: Sequence[Path], on_change: Callable[[], Awaitable[object]], clock: Clock, interval_s: float = 0.5
    ) -> None:
        self._paths = tuple(paths)
        self._on_change = on_change
        self._clock = clock
        self._interval_s = interval_s
        self._in_force = signature(self._paths)
        self._last = self._in_force
        self._unsettled = 0

    async def run(self) -> None:
        """Watch until cancelled. Nothing else ends it: what `on_change` raises is logged, and watching goes on."""
        while True:
            await self._clock.sleep(self._interval_s)
            try:
                await self.look()
            except Exception:
                log.exception("reloading policies failed; the last good ones stay in force")

    async def look(self) -> bool:
        """Scan once; True when that led to a call back."""
        seen = await self._scan()
        settled = seen == self._last
        self._last = seen
        if seen == self._in_force:
            self._unsettled = 0
            return False
        self._unsettled += 1
        if not settled and self._unsettled < MOST_UNSETTLED:
            return False
        # Noted before the call: what changes during it is found by the next scan.
        self._in_force = seen
        self._unsettled = 0
        await self._on_change()
        return True

    async def _scan(self) -> Signature:
        if len(self._last) < MANY_FILES:
            return signature(self._paths)
        return await asyncio.to_thread(signature, self._paths)


def signature(paths: Sequence[Path]) -> Signature:
    """What tells one state of the files from another: inode, time and size of each, and generations of ConfigMaps."""
    found = find_files(paths)
    missing = tuple((problem.file, 0, 0, 0) for problem in found.problems)
    volumes = tuple(("\0".join(generation), 0, 0, 0) for generation in found.generations)
    return tuple(_file_signature(path, place) for path, place in found.files.items()) + missing + volumes


def _file_signature(path: Path, place: Path) -> tuple[str, int, int, int]:
    try:
        status = os.stat(place)
    except OSError:
        return str(path), 0, 0, 0
    return str(path), status.st_ino, status.st_mtime_ns, status.st_size
