"""Options that several commands have. Imports no more than a probe needs, which is run again and again."""

from __future__ import annotations

from typing import Final

import click

from sidecar.address import Address, parse_address
from sidecar.policy.units import NotUnderstood


def read_address(ctx: click.Context, param: click.Parameter, value: str) -> Address:
    """A click callback."""
    try:
        return parse_address(value)
    except NotUnderstood as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise click.BadParameter(f"expected {error.expected}, got {value!r}{hint}", ctx, param) from None


admin_option: Final = click.option(
    "--admin",
    callback=read_address,
    metavar="HOST:PORT",
    envvar="SIDECAR_ADMIN",
    default="127.0.0.1:7601",
    help="The daemon's admin listener.  [SIDECAR_ADMIN; default: 127.0.0.1:7601]",
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="What the daemon answered, for scripts.")
