"""How much memory kept replies may take in a container that has only so much, and what gives way when it runs short."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sidecar.clock import Clock
from sidecar.serving.cgroup import MemoryGroup

if TYPE_CHECKING:
    from sidecar.stores.shelf import Shelf

log = logging.getLogger(__name__)

MIB: Final = 1024 * 1024
USUAL_BYTES: Final = 64 * MIB
FLOOR_BYTES: Final = 64 * MIB
"""What the daemon itself takes, with connections and bodies on their way."""
SHARE_RATIO: Final = 0.25
"""Of what is left beyond the floor: a kept reply weighs more while it is read, written to disk, and replaced."""
LEAST_BYTES: Final = MIB
LOOK_S: Final = 5.0
SHORT_RATIO: Final = 0.9
"""Of the limit: above this the cache is halved, since what comes next is the kernel's SIGKILL."""
EASY_RATIO: Final = 0.7
"""Below this it may grow again."""


def cache_bound_bytes(asked_bytes: int | None, limit_bytes: int | None) -> int:
    """What was asked for, or else what fits."""
    if asked_bytes is not None:
        return asked_bytes
    if limit_bytes is None:
        return USUAL_BYTES
    return max(LEAST_BYTES, min(USUAL_BYTES, int((limit_bytes - FLOOR_BYTES) * SHARE_RATIO)))


def too_much(asked_bytes: int | None, limit_bytes: int | None) -> str:
    """Why the bound that was asked for cannot be reached within the container's limit; empty if it can."""
    if asked_bytes is None or limit_bytes is None or asked_bytes + FLOOR_BYTES <= limit_bytes:
        return ""
    return f"--cache-memory is {asked_bytes // MIB} MiB and the container's limit {limit_bytes // MIB} MiB"


class MemoryWatch:
    """Compares use and limit every few seconds, and takes from the shelf what the container lacks."""

    def __init__(
        self, group: MemoryGroup | None, bound_bytes: int, shelf: Callable[[], Shelf | None], clock: Clock
    ) -> None:
        self._group = group
        self._bound_bytes = bound_bytes
        self._shelf = shelf
        self._clock = clock
        self.trouble = ""
        """That memory runs short, while it does; empty else."""

    def start(self) -> None:
        """Nothing to do where there is no limit."""
        if self._group is not None:
            sizes = {"limit_bytes": self._group.limit_bytes, "cache_bytes": self._bound_bytes}
            log.info("the container's memory is limited, and so is what is kept in it", extra=sizes)
            self._clock.at(self._clock.now() + LOOK_S, self._tick)

    def _tick(self) -> None:
        if self._group is None or not self._look(self._group):
            return
        self._clock.at(self._clock.now() + LOOK_S, self._tick)

    def _look(self, group: MemoryGroup) -> bool:
        """False when nothing can be seen any more."""
        try:
            used_ratio = group.used_bytes() / group.limit_bytes
        except (OSError, ValueError):
            return False
        shelf = self._shelf()
        if used_ratio >= SHORT_RATIO:
            self._say(group)
            if shelf is not None and shelf.size_bytes > LEAST_BYTES:
                shelf.rebound(max(LEAST_BYTES, shelf.size_bytes // 2), self._clock.wall())
                give_back()
        elif used_ratio < EASY_RATIO:
            self.trouble = ""
            if shelf is not None and shelf.bound_bytes < self._bound_bytes:
                shelf.rebound(min(self._bound_bytes, shelf.bound_bytes * 2), self._clock.wall())
        return True

    def _say(self, group: MemoryGroup) -> None:
        if not self.trouble:
            log.warning("the container's memory is nearly used up", extra={"limit_bytes": group.limit_bytes})
        self.trouble = "the container's memory is nearly used up"


def give_back() -> None:
    """Have the allocator return what is free to the kernel, which counts it as ours until then."""
    import ctypes  # noqa: PLC0415 - a megabyte, for those that run short

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl has none
    if trim is not None:
        trim(0)
