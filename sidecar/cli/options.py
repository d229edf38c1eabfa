"""Options that several commands have. Imports no more than a probe needs, which is run again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from sidecar.address import parse_address
from sidecar.policy.units import NotUnderstood

T = TypeVar("T")


def read(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str], Any]:
    """A click callback, of what raises `NotUnderstood`."""

    def callback(ctx: click.Context, param: click.Parameter, value: str) -> T:
        try:
            return parse(value)
        except NotUnderstood as error:
            hint = f"; {error.hint}" if error.hint else ""
            raise click.BadParameter(f"expected {error.expected}, got {value!r}{hint}", ctx, param) from None

    return callback


admin_option: Final = click.option(
    "--admin",
    callback=read(parse_address),
    metavar="HOST:PORT",
    envvar="SIDECAR_ADMIN",
    default="127.0.0.1:7601",
    help="The daemon's admin listener.  [SIDECAR_ADMIN; default: 127.0.0.1:7601]",
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="What the daemon answered, for scripts.")
