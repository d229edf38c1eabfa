"""Inner addresses are refused in every spelling, unless a policy named the upstream; metadata services always."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.egress import METADATA, is_own_address, may_call

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
