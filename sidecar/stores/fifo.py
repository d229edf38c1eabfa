"""The lines that kept replies stand in, oldest out first: linked through the slots themselves, so that leaving from the
middle costs nothing and an empty place leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from sidecar.rules.cache import mypyc_attr
from sidecar.rules.cache.entry import Entry, Key, Variants

if TYPE_CHECKING:
    from mypy_extensions import i64


@final
class Holding:
    """What one provider has on the shelf."""

    __slots__ = ("asked_s", "entries", "provider", "size_bytes", "spared")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.entries: i64 = 0
        self.size_bytes: i64 = 0
        self.spared = False
        """The provider was sick when that was last asked, Unix time."""
        self.asked_s = 0.0


@final
class Tick:
    """What becomes useless within one tick of the calendar: slots that are linked through themselves."""

    __slots__ = ("at", "first")

    def __init__(self, at: int, first: Slot) -> None:
        self.at: i64 = at
        """Its end, minutes since 1970."""
        self.first = first


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
        "lone",
        "newer",
        "older",
        "size_bytes",
        "until_s",
        "variants",
    )

    def __init__(self, key: Key, holding: Holding, entry: Entry, size_bytes: int, until_s: float) -> None:
        self.key = key
        self.holding = holding
        self.lone: Entry | None = entry
        """All there is, until it is served or another is put: for most, neither comes, and so they need no tuple."""
        self.variants: Variants = ()
        """Empty as long as there is a lone one."""
        self.size_bytes: i64 = size_bytes
        self.until_s = until_s
        """When the last of them is of no use any more, Unix time."""
        self.due: Tick | None = None
        """Where the calendar has noted that, and its neighbours there."""
        self.due_before: Slot | None = None
        self.due_after: Slot | None = None
        self.is_served = False
        """It weighs what entries weigh that are served."""
        self.hits: i64 = 0
        """How often it was read since it last moved, up to 3."""
        self.line: Fifo | None = None
        self.newer: Slot | None = None
        self.older: Slot | None = None

    def kept(self) -> Variants:
        """All of it, the most recently received first."""
        lone = self.lone
        return self.variants if lone is None else (lone,)

    def count(self) -> i64:
        """How many entries it has."""
        return len(self.variants) if self.lone is None else 1


@final
class Fifo:
    """One line of slots."""

    __slots__ = ("newest", "oldest", "size_bytes")

    def __init__(self) -> None:
        self.newest: Slot | None = None
        self.oldest: Slot | None = None
        self.size_bytes: i64 = 0

    def append(self, slot: Slot) -> None:
        """Stand a slot at the end; it must stand in no line."""
        newest = self.newest
        slot.line = self
        if newest is None:
            self.oldest = slot
        else:
            slot.older = newest
            newest.newer = slot
        self.newest = slot
        self.size_bytes += slot.size_bytes

    def remove(self, slot: Slot) -> None:
        """Let a slot leave; it must stand in this line."""
        older, newer = slot.older, slot.newer
        if older is None:
            self.oldest = newer
        else:
            older.newer = newer
            slot.older = None
        if newer is None:
            self.newest = older
        else:
            newer.older = older
            slot.newer = None
        slot.line = None
        self.size_bytes -= slot.size_bytes
