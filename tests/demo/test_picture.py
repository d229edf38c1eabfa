"""The SVG: well-formed, all of it within the file, charts as shapes."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

pytest.importorskip("rich")

from rich.text import Text

from sidecar.demo.chart import BLOCKS
from sidecar.demo.picture import svg
from sidecar.demo.screen import closing
from tests.demo.stories import bad_day


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    picture = svg(closing(bad_day(), 100), 100)
    root = ElementTree.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "answered while the provider was sick" in picture.replace("&#160;", " ")
    assert re.findall(r"(?:https?:|url\((?!#))[^\s\"')]*", picture) == ["http://www.w3.org/2000/svg"]


def test_blocks_are_shapes_of_their_height() -> None:
    picture = svg(Text("▄█", "red"), 10)
    assert not any(block in picture for block in BLOCKS[1:])
    heights = [float(height) for height in re.findall(r'<rect class="[^"]+"[^>]* height="([\d.]+)"', picture)]
    assert heights == [pytest.approx(12.2), pytest.approx(24.4)]
