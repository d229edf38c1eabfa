"""`sidecar env`: what to export so that an unmodified program calls through the sidecar."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import click

from sidecar.address import Address, parse_address
from sidecar.cli.options import read
from sidecar.exports import BUNDLE, CLUSTER, SHELLS, TRUST_STORE, exports, for_container, for_shell

Command = TypeVar("Command", bound=Callable[..., Any])

PROXY_AUTH: Final = "SIDECAR_PROXY_AUTH"


def read_ca_dir(_ctx: click.Context, _param: click.Parameter, value: str) -> Path | None:
    """A click callback."""
    return None if value.lower() == "off" else Path(value).absolute()


def way_options(command: Command) -> Command:
    """How programs get to the sidecar: the daemon's own settings of these names."""
    for option in reversed(WAY):
        command = option(command)
    return command


WAY: Final = (
    click.option(
        "--listen",
        callback=read(parse_address),
        metavar="HOST:PORT",
        envvar="SIDECAR_LISTEN",
        default="127.0.0.1:7600",
        help="Where the sidecar takes calls.  [SIDECAR_LISTEN; default: 127.0.0.1:7600]",
    ),
    click.option(
        "--ca-dir",
        callback=read_ca_dir,
        metavar="DIR",
        envvar="SIDECAR_CA_DIR",
        default="/run/sidecar/ca",
        help="Where the program finds its certificates; off: none.  [SIDECAR_CA_DIR; default: /run/sidecar/ca]",
    ),
    click.option(
        "--no-proxy",
        multiple=True,
        metavar="HOST",
        help="A host, .domain or network that the program calls directly; repeatable.",
    ),
    click.option("--transparent", is_flag=True, help="Certificates only: the program's connections are redirected."),
    click.option(
        "--trust-store",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"Java's trust store, its password `changeit`.  [default: {TRUST_STORE} in --ca-dir, if it is there]",
    ),
)


@click.command(short_help="Print the variables that lead a program's calls through the sidecar.")
@way_options
@click.option("--shell", type=click.Choice(list(SHELLS)), default="sh", show_default=True, help="Who is to read it.")
@click.option("--k8s", is_flag=True, help="Entries for a container's `env`; a cluster's own services stay direct.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def env(
    *,
    listen: Address,
    ca_dir: Path | None,
    no_proxy: tuple[str, ...],
    transparent: bool,
    trust_store: Path | None,
    shell: str,
    k8s: bool,
    as_json: bool,
) -> None:
    """Print what to export so that an unmodified program's calls go through the sidecar.

    In a shell: eval "$(sidecar env)". Which client reads which variable: docs/clients.md.
    """
    userinfo = own_userinfo()
    if k8s:
        no_proxy = (*CLUSTER, *no_proxy)
        # A manifest is no place for a password: the container has it from a Secret, and refers to it.
        userinfo = f"$({PROXY_AUTH})" if userinfo else ""
    variables = variables_of(None if transparent else listen, ca_dir, no_proxy, trust_store, userinfo)
    if as_json:
        click.echo(json.dumps(variables, indent=2))
    elif k8s:
        click.echo(for_container(variables))
    else:
        click.echo(for_shell(shell, variables))
    if not k8s and ca_dir is not None and not (ca_dir / BUNDLE).is_file():
        # The daemon may yet be started, so this is no error.
        click.echo(
            f"sidecar: {ca_dir / BUNDLE} is not there yet: TLS clients fail until a daemon with this --ca-dir runs"
            " (--ca-dir off leaves certificates out)",
            err=True,
        )


def own_userinfo() -> str:
    """What this environment knows of the sidecar's proxy authentication, as a URL has it."""
    user, colon, password = os.environ.get(PROXY_AUTH, "").partition(":")
    return f"{quote(user, safe='')}:{quote(password, safe='')}" if colon else ""


def variables_of(
    listen: Address | None, ca_dir: Path | None, no_proxy: tuple[str, ...], trust_store: Path | None, userinfo: str
) -> dict[str, str]:
    """What `exports` makes of the options and of what is on the disk."""
    if trust_store is None and ca_dir is not None and (ca_dir / TRUST_STORE).is_file():
        trust_store = ca_dir / TRUST_STORE
    return exports(
        listen,
        ca_dir,
        no_proxy=no_proxy,
        userinfo=userinfo,
        trust_store=None if trust_store is None else trust_store.absolute(),
    )
