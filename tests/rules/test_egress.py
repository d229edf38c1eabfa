"""Inner addresses are refused in every spelling, unless a policy named the upstream; metadata services always."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.egress import METADATA, METADATA_HOSTS, is_own_address, may_ask, may_call, numeric_address

INNER = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.1.1",
    "100.64.0.1",
    "::1",
    "fe80::1%eth0",
    "fc00::1",
    "fec0::1",
    "4000::1",
    "240.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "::127.0.0.1",
    "64:ff9b:1::7f00:1",
    "2001::7f00:1",
]


@pytest.mark.parametrize("address", INNER)
def test_inner_addresses_need_a_policy_that_names_them(address: str) -> None:
    assert not may_call(address, named=False)
    assert may_call(address, named=True)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "nonsense", ""])
def test_what_is_no_address_of_one_host_is_never_called(address: str) -> None:
    assert not may_call(address, named=True)


@pytest.mark.parametrize("address", sorted(str(address) for address in METADATA))
def test_metadata_services_are_never_called(address: str) -> None:
    assert not may_call(address, named=True)
    assert not may_call(address, named=False)


@given(st.ip_addresses(v=4))
def test_an_address_gains_nothing_by_being_wrapped_in_ipv6(address: IPv4Address) -> None:
    for named in (False, True):
        plain = may_call(str(address), named)
        assert may_call(f"::ffff:{address}", named) is plain
        assert may_call(str(IPv6Address((0x64FF9B << 96) | int(address))), named) is plain
        assert may_call(str(IPv6Address((0x2002 << 112) | (int(address) << 80))), named) is plain


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111"])
def test_public_addresses_are_called(address: str) -> None:
    assert may_call(address, named=False)


@pytest.mark.parametrize(
    ("host", "own"),
    [("", True), ("localhost", True), ("127.0.0.1", True), ("[::1]", True), ("10.0.0.7", True), ("x.localhost", True),
     ("api.stripe.com", False), ("1.1.1.1", False), ("sidecar", False)],
)  # fmt: skip
def test_own_addresses(host: str, own: bool) -> None:
    assert is_own_address(host) is own


V4_METADATA = st.sampled_from(sorted((one for one in METADATA if isinstance(one, IPv4Address)), key=int))


@given(V4_METADATA, st.booleans(), st.integers(0, 2**32 - 1))
def test_no_wrapping_hides_a_metadata_service(address: IPv4Address, named: bool, noise: int) -> None:
    """Mapped, compatible, translated (RFC 2765, 6052, 8215), 6to4, Teredo."""
    number = int(address)
    wrapped = [
        0xFFFF << 32 | number,
        number,
        0xFFFF << 48 | number,
        0x64FF9B << 96 | number,
        0x64FF9B0001 << 80 | number,
        0x64FF9B0001 << 80 | (number >> 16) << 64 | (number & 0xFFFF) << 40,
        0x2002 << 112 | number << 80 | noise,
        0x20010000 << 96 | number << 64 | noise,
        0x20010000 << 96 | noise << 64 | (number ^ 0xFFFFFFFF),
    ]
    for one in map(IPv6Address, wrapped):
        assert not may_call(str(one), named), one
        assert not may_call(f"{one}%eth0", named)
        assert not may_ask(str(one), named)


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_outside_global_unicast_needs_a_policy(address: IPv6Address) -> None:
    if may_call(str(address), named=False):
        assert int(address) >> 125 == 1 or int(address) >> 32 in (0xFFFF, 0x64FF9B << 64)


def spellings(address: IPv4Address) -> list[str]:
    a, b, c, d = address.packed
    number = int(address)
    return [
        str(address),
        f"{number}",
        f"0x{number:x}",
        f"0X{number:X}",
        f"0{number:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}",
        f"0x{a:x}.0{b:o}.{c}.0x{d:08x}",
        f"{a}.{b}.{c}.{d}.",
    ]


@given(st.ip_addresses(v=4), st.booleans())
def test_every_spelling_of_an_address_is_judged_as_the_address(address: IPv4Address, named: bool) -> None:
    for spelling in spellings(address):
        assert may_ask(spelling, named) is may_call(str(address), named), spelling


@given(st.from_regex(r"(0x[0-9a-f]{0,3}|0[0-7]{0,4}|[0-9]{1,4})(\.(0x[0-9a-f]{0,3}|[0-9]{1,4})){0,4}", fullmatch=True))
def test_numbers_are_read_as_the_resolver_reads_them(text: str) -> None:
    try:
        expected = IPv4Address(socket.inet_aton(text))
    except OSError:
        expected = None
    if "0x" not in text or expected is not None:
        assert numeric_address(text) == expected


@pytest.mark.parametrize(
    "host",
    ["1.2.3.4.5", "256.0.0.1", "08.0.0.1", "0x7f.0.0.256", "99999999999", "api.example.1", "\uff11\uff12\uff17.0.0.1",
     "\u24db\u24de\u24d2alhost", "127\u30020\u30020\u30021", "", ".", "metadata.google.internal\u3002"],
)  # fmt: skip
def test_what_resolvers_may_read_differently_is_not_asked_for(host: str) -> None:
    assert not may_ask(host, named=True)


@pytest.mark.parametrize("name", sorted(METADATA_HOSTS))
def test_names_of_metadata_services_are_never_asked_for(name: str) -> None:
    for spelling in (name, name.upper(), f"{name}.", f"{name}.."):
        assert not may_ask(spelling, named=True)


def test_localhost_is_asked_for_only_where_it_is_meant() -> None:
    for name in ("localhost", "LocalHost.", "a.localhost"):
        assert not may_ask(name, named=False)
        assert may_ask(name, named=True)
    assert may_ask("api.stripe.com", named=False)
    assert may_ask("localhost.example.com", named=False)
