"""`sidecar demo`: what the sidecar does when a provider has a bad day, in half a minute and on one screen."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sidecar.demo.show import Stage
    from sidecar.demo.story import Story

NEEDS_RICH = "needs rich: pip install rich"
PICTURE_COLUMNS = 100


@click.command(short_help="Watch what the sidecar does on a provider's bad day.")
@click.option("--plain", is_flag=True, help="A line a second, no colours; so it is wherever a screen cannot be drawn.")
@click.option("--stay", is_flag=True, help="Go on after the story, until Ctrl-C, and say where the admin port is.")
@click.option("--svg", "picture", metavar="FILE", type=click.Path(path_type=Path), help="Keep the last screen as SVG.")
@click.option("--speed", type=click.FloatRange(0.5, 10), default=1.0, hidden=True)
def demo(*, plain: bool, stay: bool, picture: Path | None, speed: float) -> int:
    """Run the real daemon between steady traffic and a provider that has a bad day, all of it on loopback.

    The provider is well, then slow, then answers 500, then nothing, then is well again. The same calls go to it through
    the sidecar and directly. It takes about 35 seconds and ends with what the application saw, and what it would have
    seen without the sidecar.
    """
    if picture is not None:
        _check(picture)
    from sidecar.demo.show import run

    stage = _stage(plain)
    return run(stage if picture is None else _Kept(stage, picture), stay=stay, speed=speed)


def _check(picture: Path) -> None:
    """Say now, not in half a minute, that a picture cannot be kept."""
    if find_spec("rich") is None:
        raise click.ClickException(f"--svg {NEEDS_RICH}")
    if picture.is_dir() or not os.access(picture.parent, os.W_OK):
        raise click.BadParameter(f"{picture} cannot be written.", param_hint="--svg")


def _stage(plain: bool) -> Stage:
    from sidecar.demo.plain import Lines

    encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
    drawable = sys.stdout.isatty() and "utf" in encoding and (os.environ.get("TERM") or "dumb") != "dumb"
    if plain or not drawable or os.environ.get("NO_COLOR"):
        return Lines(sys.stdout)
    if find_spec("rich") is None:
        click.echo(f"sidecar: the screen {NEEDS_RICH}; without it, a line a second:", err=True)
        return Lines(sys.stdout)
    from sidecar.demo.screen import Screen

    screen = Screen()
    return screen if screen.fits else Lines(sys.stdout)


class _Kept:
    """Another stage, the last screen of which is kept."""

    def __init__(self, stage: Stage, picture: Path) -> None:
        self._stage = stage
        self._picture = picture
        self.every_s = stage.every_s
        self.show = stage.show
        self.say = stage.say
        self.close = stage.close

    def finish(self, story: Story) -> None:
        from sidecar.demo.picture import svg
        from sidecar.demo.screen import closing

        self._stage.finish(story)
        try:
            self._picture.write_text(svg(closing(story, PICTURE_COLUMNS), PICTURE_COLUMNS), encoding="utf-8")
        except OSError as error:
            self.say(f"{self._picture} could not be written ({error.strerror}).")
