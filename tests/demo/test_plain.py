"""The lines: aligned under their head, without a control character, telling the last second."""

from __future__ import annotations

from io import StringIO

from sidecar.demo.plain import HEAD, Lines, line
from tests.demo.stories import bad_day


def test_columns_stand_under_their_heads() -> None:
    story = bad_day()
    for now_s in (1.0, 9.0, 35.0):
        shown = line(story, now_s)
        assert [at for at, char in enumerate(shown) if char == "|"] == [
            at for at, char in enumerate(HEAD[1]) if char == "|"
        ]
        assert shown.isascii()


def test_a_line_tells_the_last_second() -> None:
    cells = [cell.split() for cell in line(bad_day(15.0), 15.0).split("|")]
    assert cells == [
        ["0:15", "500"],
        ["0", "0", "0", "9", "0", "1", "10", "ms"],
        ["0", "10", "2.00", "s"],
        ["0/s", "9/s"],
        ["get-product"],
    ]


async def test_the_head_comes_once_and_the_comparison_last() -> None:
    out, story = StringIO(), bad_day()
    stage = Lines(out)
    await stage.show(story, 1.0)
    await stage.show(story, 2.0)
    stage.finish(story)
    lines = out.getvalue().splitlines()
    assert lines[:2] == list(HEAD)
    assert [shown[:6] for shown in lines[2:4]] == [" 0:01 ", " 0:02 "]
    assert any(shown.split() == ["answered", "94.0", "%", "40.0", "%"] for shown in lines[4:])
