"""Stacked columns out of block characters: eight steps a line, two colours a cell.

What may live here: shares to cells. No terminal, no colours: a cell names kinds, and the screen knows their looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

BLOCKS: Final = " ▁▂▃▄▅▆▇█"
STEPS: Final = 8

K = TypeVar("K")


class Cell(NamedTuple):
    """One character: a block of `lower`'s colour on `upper`'s. None for nothing."""

    char: str
    lower: object
    upper: object


EMPTY: Final = Cell(" ", None, None)


def stacked(columns: Sequence[Mapping[K, int]], kinds: Sequence[K], lines: int) -> list[list[Cell]]:
    """Lines from the top, a cell a column; each column is full, its kinds from the bottom in the order of `kinds`."""
    filled = [_cells(heights(column, kinds, lines * STEPS), kinds, lines) for column in columns]
    return [[cells[line] for cells in filled] for line in reversed(range(lines))]


def heights(counts: Mapping[K, int], kinds: Sequence[K], steps: int) -> list[int]:
    """How many of `steps` each kind gets by its share; what is there at all gets one, at the expense of the largest."""
    total = sum(counts.get(kind, 0) for kind in kinds)
    if not total:
        return [0] * len(kinds)
    shares = [counts.get(kind, 0) * steps / total for kind in kinds]
    given = [max(1, round(share)) if share else 0 for share in shares]
    given[given.index(max(given))] += steps - sum(given)
    return given


def _cells(steps: Sequence[int], kinds: Sequence[K], lines: int) -> list[Cell]:
    """One column from the bottom."""
    stack = [kind for kind, count in zip(kinds, steps, strict=True) for _ in range(count)]
    if not stack:
        return [EMPTY] * lines
    return [_cell(stack[line * STEPS : (line + 1) * STEPS]) for line in range(lines)]


def _cell(stack: Sequence[object]) -> Cell:
    """Two kinds at most: the lowest, and of what lies above it the most frequent."""
    lower = stack[0]
    above = [kind for kind in stack if kind != lower]
    if not above:
        return Cell(BLOCKS[STEPS], lower, lower)
    return Cell(BLOCKS[STEPS - len(above)], lower, max(above, key=above.count))
