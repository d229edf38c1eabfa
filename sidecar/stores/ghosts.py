"""What left memory not long ago: no more of each than a mark, in a table that does not grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from sidecar.rules.cache.entry import Key

if TYPE_CHECKING:
    from mypy_extensions import i64

NOBODY: Final = -1
"""No mark: the place is free."""


@final
class Ghosts:
    """The last keys that were put in; each has one place in the table, and takes it from whoever is there.

    Keys are digests, so their own bytes tell them apart. A mark is one byte, for which there are objects already: one
    key in 256 is taken for another, and stays a little longer than it should.
    """

    __slots__ = ("_marks", "_places")

    def __init__(self, places: int) -> None:
        self._places: i64 = places
        self._marks = [NOBODY] * places

    def add(self, key: Key) -> None:
        self._marks[place(key, self._places)] = mark(key)

    def has(self, key: Key) -> bool:
        return self._marks[place(key, self._places)] == mark(key)


def place(key: Key, places: i64) -> i64:
    """One of so many places, from other bytes than the mark."""
    # From both ends, since a key may have its first half in common with others, or its second.
    low: i64 = key[0] ^ key[-1]
    middle: i64 = key[1] ^ key[-2]
    high: i64 = key[2] ^ key[-3]
    return (high << 16 | middle << 8 | low) * places >> 24


def mark(key: Key) -> int:
    return key[3] ^ key[-4]
