"""The last screen as an SVG that looks the same wherever it is shown: no fonts from elsewhere, charts as shapes."""

from __future__ import annotations

import re
from io import StringIO
from typing import Final

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from sidecar.demo.chart import BLOCKS, STEPS

THEME: Final = TerminalTheme(
    (22, 25, 30),
    (214, 218, 224),
    [
        *((22, 25, 30), (216, 80, 63), (47, 158, 120), (214, 158, 46)),
        *((74, 140, 208), (149, 124, 211), (74, 140, 208), (214, 218, 224)),
    ],
)
FORMAT: Final = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" xml:space="preserve" role="img">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; white-space: pre; }}
.{unique_id}-title {{ font: bold 17px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
BLOCK_TEXT: Final = re.compile(
    r'<text class="(?P<style>[^"]+)" x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength="(?P<width>[\d.]+)"[^>]*>'
    rf"(?P<blocks>[{BLOCKS[1:]}]+)</text>"
)
CHAR_HEIGHT: Final = 20.0
LINE_HEIGHT: Final = CHAR_HEIGHT * 1.22
"""As rich lays lines out."""


def svg(shown: RenderableType, columns: int) -> str:
    """What is shown, as a terminal of so many columns would."""
    console = Console(
        width=columns, record=True, file=StringIO(), force_terminal=True, color_system="truecolor", highlight=False
    )
    console.print(shown)
    text = console.export_svg(title="sidecar demo", theme=THEME, code_format=FORMAT, unique_id="demo")
    return BLOCK_TEXT.sub(_shapes, text)


def _shapes(found: re.Match[str]) -> str:
    """Block characters as rectangles: no two fonts draw them alike, and most leave gaps between lines."""
    blocks = found["blocks"]
    width = float(found["width"]) / len(blocks)
    bottom = float(found["y"]) - CHAR_HEIGHT + LINE_HEIGHT + 1.75
    rectangles = []
    for place, block in enumerate(blocks):
        height = LINE_HEIGHT * BLOCKS.index(block) / STEPS
        x, y = float(found["x"]) + place * width, bottom - height
        rectangles.append(
            f'<rect class="{found["style"]}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
            ' shape-rendering="crispEdges"/>'
        )
    return "".join(rectangles)
