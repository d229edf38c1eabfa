"""Which addresses may be called. Judged after resolution, so that a name which turns to an inner address gains nothing.

Special-purpose ranges are those of the IANA registries (RFC 6890) as `ipaddress` knows them; the metadata services are
the documented ones of the large clouds.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

METADATA = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google Cloud, Oracle, DigitalOcean
            "169.254.170.2",  # AWS: task credentials
            "169.254.170.23",  # AWS: pod identity
            "fd00:ec2::254",  # AWS over IPv6
            "fd00:ec2::23",
            "fd20:ce::254",  # Google Cloud over IPv6
            "100.100.100.200",  # Alibaba Cloud
            "192.0.0.192",  # Oracle, classic
            "168.63.129.16",  # Azure's host channel
        ),
    )
)
"""Addresses that hand out the machine's own credentials: never called, whoever names them."""

METADATA_HOSTS = frozenset(("metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"))

TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv6 addresses that end in an IPv4 one (RFC 6052)."""


@lru_cache(maxsize=4096)
def may_call(address: str, named: bool) -> bool:
    """Whether `address` (IPv4 or IPv6 text, a zone allowed) may be an upstream.

    `named` says that a policy wrote this upstream down, so that private and loopback addresses are meant."""
    try:
        parsed = _innermost(ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    if parsed in METADATA or parsed.is_multicast or parsed.is_unspecified:
        return False
    if named:
        return True
    return parsed.is_global


def is_own_address(host: str) -> bool:
    """Whether a `Host` means the listener itself rather than a provider."""
    if host in ("", "localhost") or host.endswith(".localhost"):
        return True
    try:
        return not ip_address(host.strip("[]")).is_global
    except ValueError:
        return False


def _innermost(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in TRANSLATED:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
