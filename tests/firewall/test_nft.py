"""nft: one table of our own, in one transaction."""

from __future__ import annotations

import pytest

from sidecar.firewall.machine import FirewallError, NotPermitted
from sidecar.firewall.nft import REMOVAL, find_nft, script
from sidecar.firewall.rules import Redirect, parse_networks, parse_ports
from tests.firewall.machines import NOBODY, FakeMachine, always

EVERYTHING = """\
table inet sidecar
delete table inet sidecar
table inet sidecar {
	chain output {
		type nat hook output priority -110; policy accept;
		oif "lo" return
		meta nfproto ipv6 return
		meta skuid { 1337, 65532 } return
		ip daddr { 10.0.0.0/8, 192.0.2.7/32 } return
		ip6 daddr { fd00::/8 } return
		tcp dport { 5432, 8000-8100 } return
		tcp dport { 80, 443 } redirect to :7700
	}
}
"""
LIST_TABLES = ["nft", "list", "tables"]


def test_every_option_in_its_place() -> None:
    redirect = Redirect(
        to_port=7700,
        uids=(65532, 1337),
        ports=parse_ports("443,80"),
        spared_ports=parse_ports("8000-8100,5432"),
        spared_networks=parse_networks("fd00::/8,10.0.0.0/8,10.1.0.0/16,192.0.2.7"),
        ipv6=False,
    )
    assert script(redirect) == EVERYTHING


def test_the_least() -> None:
    lines = [line.strip() for line in script(Redirect()).splitlines()]
    assert lines[5:-2] == [
        'oif "lo" return',
        "meta skuid { 65532 } return",
        "tcp dport { 53 } return",
        "meta l4proto tcp redirect to :7603",
    ]


def test_a_table_is_taken_away_only_where_there_is_one() -> None:
    machine = FakeMachine("nft")
    nft = find_nft(machine)
    assert nft is not None
    nft.down()
    assert machine.asked == [(LIST_TABLES, "")]
    machine.answers["nft"] = always(0, "table ip nat\ntable inet sidecar\n")
    nft.down()
    assert machine.told("nft") == [REMOVAL]


def test_a_foreign_table_with_a_longer_name_is_none_of_ours() -> None:
    machine = FakeMachine("nft")
    machine.answers["nft"] = always(0, "table inet sidecar2\n")
    nft = find_nft(machine)
    assert nft is not None
    assert nft.shown() == ""


def test_without_the_capability_nothing_is_run() -> None:
    machine = FakeMachine("nft", status=NOBODY)
    nft = find_nft(machine)
    assert nft is not None
    for act in (lambda: nft.up(Redirect()), nft.down, nft.shown):
        with pytest.raises(NotPermitted, match="run it with NET_ADMIN, as the init container does"):
            act()
    assert machine.asked == []


def test_a_kernel_without_nat() -> None:
    machine = FakeMachine("nft")
    machine.answers["nft"] = always(1, err="/dev/stdin:4:1-2: Error: Could not process rule: Operation not supported\n")
    nft = find_nft(machine)
    assert nft is not None
    with pytest.raises(FirewallError, match="the kernel lacks what nft needs"):
        nft.up(Redirect())


def test_no_program() -> None:
    assert find_nft(FakeMachine("iptables-restore")) is None
