"""Putting the rules in force, and out of it, by whichever tool of the machine's can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

from sidecar.firewall.iptables import find_iptables
from sidecar.firewall.machine import FirewallError, Machine, NotPermitted
from sidecar.firewall.nft import find_nft
from sidecar.firewall.rules import Redirect

Answer = TypeVar("Answer")


class Tool(Protocol):
    """A firewall tool. Every method but `script` raises FirewallError."""

    name: str

    def script(self, redirect: Redirect) -> str:
        """What it would be told on a machine without rules of ours."""

    def up(self, redirect: Redirect) -> None:
        """Put exactly these rules in force; ones that were there before stay in force when it fails."""

    def down(self) -> None: ...

    def shown(self) -> str:
        """Our rules that are in force, in its language; empty when there are none."""


def find_tools(machine: Machine) -> list[Tool]:
    """Best first: nft changes IPv4 and IPv6 at once. Raises FirewallError when there is none."""
    nft = find_nft(machine)
    found: list[Tool] = [*([nft] if nft else []), *find_iptables(machine)]
    if not found:
        raise FirewallError("neither nft nor iptables is installed: install the package nftables or iptables")
    return found


def choose(tools: Sequence[Tool], name: str) -> list[Tool]:
    """The one of that name (`iptables`: any flavour); all for `auto`. Raises FirewallError."""
    chosen = [tool for tool in tools if name in ("auto", tool.name) or tool.name.startswith(f"{name}-")]
    if not chosen:
        raise FirewallError(f"{name} is not installed; there is {' and '.join(tool.name for tool in tools)}")
    return chosen


def put_up(redirect: Redirect, chosen: Sequence[Tool], tools: Sequence[Tool]) -> str:
    """The rules are in force by the first tool that can, and by no other of `tools`; its name. Raises FirewallError."""
    failures = []
    for tool in chosen:
        try:
            tool.up(redirect)
        except NotPermitted:
            raise
        except FirewallError as error:
            failures.append(str(error))
            continue
        for other in tools:
            if other is not tool:
                # What cannot be asked has nothing in force.
                with suppress(FirewallError):
                    other.down()
        return tool.name
    raise FirewallError("; ".join(failures))


def take_down(tools: Sequence[Tool]) -> None:
    """No rule of ours is in force any more. Raises FirewallError."""
    _ask_each(tools, lambda tool: tool.down())


def show(tools: Sequence[Tool]) -> str:
    """Our rules that are in force, whoever put them there. Raises FirewallError."""
    return "".join(_ask_each(tools, lambda tool: tool.shown()))


def _ask_each(tools: Sequence[Tool], ask: Callable[[Tool], Answer]) -> list[Answer]:
    """The answers of all that can give one: a tool that the kernel has nothing for has nothing in force."""
    answers, failures = [], []
    for tool in tools:
        try:
            answers.append(ask(tool))
        except NotPermitted:
            raise
        except FirewallError as error:
            failures.append(str(error))
    if not answers:
        raise FirewallError("; ".join(failures))
    return answers
