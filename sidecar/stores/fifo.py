"""The lines that kept replies stand in, oldest out first: linked through the slots themselves, so that leaving from the
middle costs nothing and an empty place leaves nothing behind."""

from __future__ import annotations

from typing import final

from sidecar.rules.cache import mypyc_attr
from sidecar.rules.cache.entry import Key, Variants


@final
class Holding:
    """What one provider has on the shelf."""

    __slots__ = ("asked_s", "entries", "provider", "size_bytes", "spared")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.entries = 0
        self.size_bytes = 0
        self.spared = False
        """The provider was sick when that was last asked, Unix time."""
        self.asked_s = 0.0


@final
@mypyc_attr(acyclic=True)  # But for its neighbours, whom it loses when it leaves.
class Slot:
    """Everything kept under one key, and its place in a line."""

    __slots__ = (
        "due",
        "due_after",
        "due_before",
        "hits",
        "holding",
        "is_served",
        "key",
        "line",
        "newer",
        "older",
        "size_bytes",
        "until_s",
        "variants",
    )

    def __init__(self, key: Key, holding: Holding) -> None:
        self.key = key
        self.holding = holding
        self.variants: Variants = ()
        self.size_bytes = 0
        self.until_s = 0.0
        """When the last of them is of no use any more, Unix time."""
        self.due = 0
        """The tick under which the calendar has noted that, and its neighbours there."""
        self.due_before: Slot | None = None
        self.due_after: Slot | None = None
        self.is_served = False
        """It weighs what entries weigh that are served."""
        self.hits = 0
        """How often it was read since it last moved, up to 3."""
        self.line: Fifo | None = None
        self.newer: Slot | None = None
        self.older: Slot | None = None


@final
class Fifo:
    """One line of slots."""

    __slots__ = ("newest", "oldest", "size_bytes")

    def __init__(self) -> None:
        self.newest: Slot | None = None
        self.oldest: Slot | None = None
        self.size_bytes = 0

    def append(self, slot: Slot) -> None:
        """Stand a slot at the end; it must stand in no line."""
        slot.line = self
        slot.older = self.newest
        if self.newest is None:
            self.oldest = slot
        else:
            self.newest.newer = slot
        self.newest = slot
        self.size_bytes += slot.size_bytes

    def remove(self, slot: Slot) -> None:
        """Let a slot leave; it must stand in this line."""
        if slot.older is None:
            self.oldest = slot.newer
        else:
            slot.older.newer = slot.newer
        if slot.newer is None:
            self.newest = slot.older
        else:
            slot.newer.older = slot.older
        slot.line = slot.newer = slot.older = None
        self.size_bytes -= slot.size_bytes
