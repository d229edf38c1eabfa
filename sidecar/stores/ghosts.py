"""What left memory not long ago: no more of each than a mark, in a table that does not grow."""

from __future__ import annotations

from array import array
from typing import Final, final

from sidecar.rules.cache.entry import Key

MARK_BITS: Final = (1 << 62) - 1
"""As many as compiled code counts with in a register."""


@final
class Ghosts:
    """The last keys that were put in; each has one place in the table, and takes it from whoever is there."""

    __slots__ = ("_marks", "_places")

    def __init__(self, places: int) -> None:
        self._places = places
        self._marks = array("I", bytes(4 * places))

    def add(self, key: Key) -> None:
        digits = mark(key)
        self._marks[(digits >> 32) % self._places] = digits & 0xFFFF_FFFF

    def has(self, key: Key) -> bool:
        digits = mark(key)
        return bool(self._marks[(digits >> 32) % self._places] == digits & 0xFFFF_FFFF)


def mark(key: Key) -> int:
    """A key in 62 bits: half of the memory that the key itself would take. The same as long as the process lives."""
    return hash(key) & MARK_BITS
