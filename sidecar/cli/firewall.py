"""`sidecar firewall`: leads the application's connections to the transparent listener, and lets go of them again."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from itertools import chain
from typing import Any

import click

from sidecar.firewall.apply import choose, find_tools, put_up, show, take_down
from sidecar.firewall.machine import FirewallError, ThisMachine
from sidecar.firewall.rules import (
    SIDECAR_UID,
    TRANSPARENT_PORT,
    Network,
    Ports,
    Redirect,
    parse_networks,
    parse_port,
    parse_ports,
    parse_uids,
)

NOTHING_IN_FORCE = 3
TOOLS = ("auto", "nft", "iptables", "iptables-nft", "iptables-legacy")
EPILOG = """Exits with 0 when it is done, with 1 and one line when it cannot be (no tool, no privilege, no support in
the kernel), with 2 when an option is not fit; `show` with 3 when no rule is in force."""


def read_by(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Reads an option by one of the parsers of the rules; one that may be repeated, and holds lists, as one list."""

    def read(ctx: click.Context, param: click.Parameter, value: str | tuple[str, ...]) -> Any:
        try:
            return parse(value) if isinstance(value, str) else tuple(chain.from_iterable(map(parse, value)))
        except ValueError as error:
            text = str(error)
            raise click.BadParameter(text if text.endswith("?") else f"{text}.", ctx, param) from None

    return read


def one_line_errors(command: Callable[..., int]) -> Callable[..., int]:
    def run(*args: Any, **options: Any) -> int:
        try:
            return command(*args, **options)
        except FirewallError as error:
            raise click.ClickException(str(error)) from None

    return update_wrapper(run, command)


@click.group(short_help="Redirect the application's connections.", epilog=EPILOG)
def firewall() -> None:
    """Lead the TCP connections that begin in this pod (network namespace) to the sidecar's transparent listener.

    It needs the capability NET_ADMIN (for iptables-legacy NET_RAW, too), so it is for an init container; the sidecar
    itself needs neither. UDP, and with it most of DNS, is not touched.
    """


@firewall.command(short_help="Put the rules in force.", epilog=EPILOG)
@click.option(
    "--to",
    "to_port",
    callback=read_by(parse_port),
    metavar="PORT",
    envvar="SIDECAR_TRANSPARENT",
    default=str(TRANSPARENT_PORT),
    show_default=True,
    help="The transparent listener's port, or its address.  [SIDECAR_TRANSPARENT]",
)
@click.option(
    "--uid",
    "uids",
    callback=read_by(parse_uids),
    metavar="UIDS",
    multiple=True,
    default=(str(SIDECAR_UID),),
    help=f"Whose connections go straight: the sidecar's user. Repeatable.  [default: {SIDECAR_UID}]",
)
@click.option(
    "--ports",
    callback=read_by(parse_ports),
    metavar="PORTS",
    multiple=True,
    help="Redirect these only, such as 80,443 or 8000-8100.  [default: all but 53]",
)
@click.option(
    "--exclude",
    "networks",
    callback=read_by(parse_networks),
    metavar="NETWORKS",
    multiple=True,
    help="Networks to leave out, such as 10.0.0.0/8,fd00::/8. Repeatable.",
)
@click.option(
    "--exclude-port",
    "spared_ports",
    callback=read_by(parse_ports),
    metavar="PORTS",
    multiple=True,
    help="Ports to leave out, such as 5432,6379. Repeatable.",
)
@click.option("--ipv6/--no-ipv6", default=True, help="Redirect IPv6, too.  [default: --ipv6]")
@click.option("--tool", type=click.Choice(TOOLS), default="auto", help="auto: the first that works of those there.")
@click.option("--dry-run", is_flag=True, help="Print what the tool would be told, and change nothing.")
@one_line_errors
def up(
    *,
    to_port: int,
    uids: tuple[int, ...],
    ports: tuple[Ports, ...],
    networks: tuple[Network, ...],
    spared_ports: tuple[Ports, ...],
    ipv6: bool,
    tool: str,
    dry_run: bool,
) -> int:
    """Put the rules in force, in place of those of an earlier `up`.

    Connections over loopback are left out, and so are those that are open already.
    """
    redirect = Redirect(to_port, uids, ports, spared_ports, networks, ipv6)
    tools = find_tools(ThisMachine())
    chosen = choose(tools, tool)
    if dry_run:
        click.echo(chosen[0].script(redirect), nl=False)
    else:
        click.echo(f"TCP connections are redirected to port {to_port}, by {put_up(redirect, chosen, tools)}")
    return 0


@firewall.command(short_help="Take the rules away.", epilog=EPILOG)
@one_line_errors
def down() -> int:
    """Take all rules of the sidecar's away; says nothing, also when there are none.

    Connections that are open stay as they are.
    """
    take_down(find_tools(ThisMachine()))
    return 0


@firewall.command("show", short_help="Print the rules that are in force.", epilog=EPILOG)
@one_line_errors
def show_rules() -> int:
    """Print the sidecar's rules that are in force, as their tool writes them."""
    shown = show(find_tools(ThisMachine()))
    if not shown:
        click.echo("no rule of the sidecar's is in force", err=True)
        return NOTHING_IN_FORCE
    click.echo(shown, nl=False)
    return 0
