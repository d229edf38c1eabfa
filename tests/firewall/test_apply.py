"""Which tool is used, and what becomes of the others' rules."""

from __future__ import annotations

import pytest

from sidecar.firewall.apply import Tool, choose, find_tools, put_up, show, take_down
from sidecar.firewall.machine import FirewallError, NotPermitted
from sidecar.firewall.rules import Redirect
from tests.firewall.machines import FakeMachine, iptables_programs


class FakeTool:
    """Does nothing, or fails in one way at everything."""

    def __init__(self, name: str, error: FirewallError | None = None) -> None:
        self.name = name
        self.error = error
        self.in_force = False

    def script(self, redirect: Redirect) -> str:
        return self.name

    def up(self, redirect: Redirect) -> None:
        self._try()
        self.in_force = True

    def down(self) -> None:
        self._try()
        self.in_force = False

    def shown(self) -> str:
        self._try()
        return f"{self.name}\n" if self.in_force else ""

    def _try(self) -> None:
        if self.error is not None:
            raise self.error


BROKEN = FirewallError("the kernel lacks it")
DENIED = NotPermitted("run it with NET_ADMIN")


def test_nft_comes_first() -> None:
    machine = FakeMachine("nft", *iptables_programs("-legacy"), *iptables_programs("-nft"))
    assert [tool.name for tool in find_tools(machine)] == ["nft", "iptables-nft", "iptables-legacy"]
    assert [tool.name for tool in find_tools(FakeMachine(*iptables_programs("")))] == ["iptables"]


def test_a_machine_without_tools() -> None:
    with pytest.raises(FirewallError, match="neither nft nor iptables is installed"):
        find_tools(FakeMachine())


def test_choosing() -> None:
    tools: list[Tool] = [FakeTool("nft"), FakeTool("iptables-nft"), FakeTool("iptables-legacy")]
    assert choose(tools, "auto") == tools
    assert choose(tools, "nft") == tools[:1]
    assert choose(tools, "iptables") == tools[1:]
    assert choose(tools, "iptables-legacy") == tools[2:]
    with pytest.raises(FirewallError, match=r"^iptables is not installed; there is nft$"):
        choose(tools[:1], "iptables")


def test_the_first_that_works_is_used_and_no_other_keeps_rules() -> None:
    tools = [FakeTool("nft", BROKEN), FakeTool("iptables-nft"), FakeTool("iptables-legacy")]
    tools[2].in_force = True
    assert put_up(Redirect(), tools, tools) == "iptables-nft"
    assert [tool.in_force for tool in tools] == [False, True, False]
    assert show(tools) == "iptables-nft\n"
    take_down(tools)
    assert show(tools) == ""


def test_when_none_works_each_says_why() -> None:
    tools = [FakeTool("nft", BROKEN), FakeTool("iptables", FirewallError("it failed"))]
    for act in (lambda: put_up(Redirect(), tools, tools), lambda: take_down(tools), lambda: show(tools)):
        with pytest.raises(FirewallError, match=r"^the kernel lacks it; it failed$"):
            act()


def test_a_missing_privilege_ends_it_at_once() -> None:
    tools = [FakeTool("nft", DENIED), FakeTool("iptables")]
    for act in (lambda: put_up(Redirect(), tools, tools), lambda: take_down(tools), lambda: show(tools)):
        with pytest.raises(NotPermitted):
            act()
    assert not tools[1].in_force


def test_a_tool_that_lacks_more_than_the_one_in_use_is_passed_over() -> None:
    tools = [FakeTool("nft"), FakeTool("iptables-legacy", DENIED)]
    assert put_up(Redirect(), tools, tools) == "nft"
