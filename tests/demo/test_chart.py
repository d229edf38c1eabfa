"""Stacked columns: full, in order, and nothing that is there is left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.demo.chart import BLOCKS, EMPTY, Cell, heights, stacked

KINDS = ("a", "b", "c", "d", "e", "f", "g")
COUNTS = st.dictionaries(st.sampled_from(KINDS), st.integers(0, 5000))


@given(COUNTS, st.sampled_from((24, 32, 40, 48)))
def test_heights_fill_the_column_and_leave_out_nothing(counts: dict[str, int], steps: int) -> None:
    given_steps = heights(counts, KINDS, steps)
    assert sum(given_steps) == (steps if any(counts.values()) else 0)
    for kind, height in zip(KINDS, given_steps, strict=True):
        assert height >= 0
        assert (height > 0) == (counts.get(kind, 0) > 0)


@given(st.lists(COUNTS, min_size=1, max_size=5), st.integers(3, 6))
def test_every_cell_is_a_block_on_a_colour(columns: list[dict[str, int]], lines: int) -> None:
    drawn = stacked(columns, KINDS, lines)
    assert len(drawn) == lines
    assert {len(line) for line in drawn} == {len(columns)}
    for line in drawn:
        for cell in line:
            assert cell == EMPTY or (cell.char in BLOCKS and cell.lower is not None and cell.upper is not None)


def test_the_first_kind_is_at_the_bottom() -> None:
    drawn = stacked([{"a": 1, "b": 1}], ("a", "b"), 3)
    assert drawn == [[Cell("█", "b", "b")], [Cell("▄", "a", "b")], [Cell("█", "a", "a")]]


def test_a_column_of_nothing_is_empty() -> None:
    assert stacked([{}], KINDS, 2) == [[EMPTY], [EMPTY]]
