"""What is redirected: options read, lists merged."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, ip_network
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.firewall.rules import (
    Ports,
    Redirect,
    merged,
    parse_networks,
    parse_port,
    parse_ports,
    parse_uids,
)

PORT = st.integers(1, 65535)
PORTS = st.builds(lambda one, other: Ports(min(one, other), max(one, other)), PORT, PORT)
NETWORKS = st.lists(st.one_of(st.from_type(IPv4Network), st.ip_addresses(v=6).map(ip_network)))


def covered(ranges: tuple[Ports, ...]) -> set[int]:
    return {port for one in ranges for port in range(one.first, one.last + 1)}


@given(st.lists(PORTS, max_size=4))
def test_merged_ports_are_the_same_ports(ports: list[Ports]) -> None:
    found = merged(ports)
    assert covered(found) == covered(tuple(ports))
    assert all(one.last + 1 < other.first for one, other in pairwise(found))


@given(st.lists(PORTS, min_size=1, max_size=4), st.sampled_from("-:"))
def test_ports_are_read_as_they_are_written(ports: list[Ports], dash: str) -> None:
    assert parse_ports(", ".join(one.text(dash) for one in ports)) == tuple(ports)


@given(NETWORKS)
def test_networks_are_apart_by_version_and_none_is_inside_another(networks: list[Any]) -> None:
    redirect = Redirect(spared_networks=tuple(networks))
    for version in (4, 6):
        found = redirect.straight_networks(version)
        assert all(one.version == version for one in found)
        assert all(not one.overlaps(other) for one in found for other in found if one is not other)
        wanted = [one for one in networks if one.version == version]
        assert all(any(one.subnet_of(other) for other in found) for one in wanted)  # type: ignore[arg-type]


def test_dns_goes_straight_unless_its_port_is_named() -> None:
    assert Redirect().straight_ports == (Ports(53, 53),)
    assert Redirect(spared_ports=(Ports(25, 25),)).straight_ports == (Ports(25, 25), Ports(53, 53))
    assert Redirect(ports=(Ports(53, 53),)).straight_ports == ()
    assert Redirect(ports=(Ports(1, 65535),)).straight_ports == ()


def test_the_port_may_come_as_the_listeners_address() -> None:
    assert [parse_port(text) for text in ("7603", ":7603", "0.0.0.0:7603", "[::]:7603")] == [7603] * 4


def test_uids() -> None:
    assert parse_uids("65532, 0") == (65532, 0)
    assert Redirect(uids=(7, 3, 7)).straight_uids == (3, 7)


def test_an_address_is_a_network() -> None:
    assert [str(one) for one in parse_networks("192.0.2.7, fd00::/8")] == ["192.0.2.7/32", "fd00::/8"]


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_port, "0", "expected a port from 1 to 65535, got '0'"),
        (parse_port, "65536", "expected a port from 1 to 65535, got '65536'"),
        (parse_port, "off", "expected a port from 1 to 65535, got 'off'"),
        (parse_ports, "80,,443", "expected ports such as 443, 80,443 or 8000-8100, got ''"),
        (parse_ports, "90-80", "expected ports such as 443, 80,443 or 8000-8100, got '90-80'"),
        (parse_ports, "8٣", "expected ports such as 443, 80,443 or 8000-8100, got '8٣'"),
        (parse_ports, "0", "expected ports such as 443, 80,443 or 8000-8100, got '0'"),
        (parse_uids, "root", "expected a user's number such as 65532, got 'root'"),
        (parse_uids, "4294967295", "expected a user's number such as 65532, got '4294967295'"),
        (parse_networks, "api.stripe.com", "expected a network such as 10.0.0.0/8 or fd00::/8, got 'api.stripe.com'"),
        (
            parse_networks,
            "10.1.0.0/8",
            "expected a network such as 10.0.0.0/8 or fd00::/8, got '10.1.0.0/8'; did you mean 10.0.0.0/8?",
        ),
    ],
)
def test_what_cannot_be_read_is_said(parse: Callable[[str], object], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^expected ") as caught:
        parse(text)
    assert str(caught.value) == message
