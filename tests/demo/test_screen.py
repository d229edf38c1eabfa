"""The screen: within its bounds at every size and time, and showing what the story has."""

from __future__ import annotations

from io import StringIO

import pytest

pytest.importorskip("rich")

from rich.console import Console, RenderableType

from sidecar.demo.screen import LEAST_SIZE, closing, playing
from sidecar.demo.script import LASTS_S
from sidecar.demo.story import Story
from tests.demo.stories import bad_day

SIZES = [LEAST_SIZE, (80, 24), (100, 30), (140, 60)]


def text(shown: RenderableType, width: int, **more: str) -> str:
    console = Console(width=width, file=StringIO(), record=True, color_system=None, highlight=False)
    console.print(shown)
    return console.export_text()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("now_s", [0.0, 0.2, 8.0, 21.3, LASTS_S, LASTS_S + 2])
def test_the_screen_keeps_within_the_terminal(size: tuple[int, int], now_s: float) -> None:
    width, height = size
    for story in (Story([]), bad_day(min(now_s, LASTS_S))):
        lines = text(playing(story, now_s, width, height), width).splitlines()
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize("size", SIZES)
def test_the_screen_shows_calls_breakers_and_figures(size: tuple[int, int]) -> None:
    width, height = size
    shown = text(playing(bad_day(21.3), 21.3, width, height), width)
    assert "Calls are taken, and never answered." in shown
    assert "0:21 of 0:35" in shown
    assert "open 1.5 s" in shown
    assert "GET /products/1" in shown
    assert "served=stale;age=4" in shown
    assert "4f1c8e0a9b7d2e63" not in shown


def test_a_tall_terminal_gets_more_calls_and_the_load() -> None:
    shown = text(playing(bad_day(21.3), 21.3, 100, 40), 100)
    assert "load, without" in shown
    assert shown.count("served=stale") > text(playing(bad_day(21.3), 21.3, 80, 24), 80).count("served=stale")


def test_what_remains_fits_80_columns() -> None:
    lines = text(closing(bad_day(), 80), 80).splitlines()
    assert max(map(len, lines)) <= 80
    answered = next(line for line in lines if line.startswith(" answered   "))
    assert answered.split() == ["answered", "94.0", "%", "40.0", "%"]
    assert lines[-2].endswith("10 ms.")
