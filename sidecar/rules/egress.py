"""Which addresses may be called. Judged after resolution, so that a name which turns to an inner address gains nothing.

What may live here: judgements of addresses and host names, on their text. Special-purpose ranges are those of the IANA
registries (RFC 6890) as `ipaddress` knows them; the metadata services are the documented ones of the large clouds.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

METADATA: Final = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google, Oracle, DigitalOcean, Hetzner, OpenStack, Huawei, Yandex
            "169.254.170.2",  # AWS: task credentials
            "169.254.170.23",  # AWS: pod identity
            "fd00:ec2::254",  # AWS over IPv6
            "fd00:ec2::23",
            "fd20:ce::254",  # Google Cloud over IPv6
            "fd00:c1::a9fe:a9fe",  # Oracle over IPv6
            "fd00:a9fe:a9fe::1",  # Linode over IPv6
            "fe80::a9fe:a9fe",  # OpenStack over IPv6
            "100.100.100.200",  # Alibaba Cloud
            "169.254.0.23",  # Tencent Cloud
            "169.254.42.42",  # Scaleway
            "fd00:42::42",
            "192.0.0.192",  # Oracle, classic
            "168.63.129.16",  # Azure's host channel
        ),
    )
)
"""Addresses that hand out the machine's own credentials: never called, whoever names them."""

METADATA_HOSTS: Final = frozenset(
    (
        "metadata",  # Google Cloud's search domain completes it
        "metadata.google.internal",
        "metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.azure.internal",
        "metadata.oraclevcn.com",
        "metadata.tencentyun.com",
        "api.metadata.cloud.ibm.com",
        "metadata.platformequinix.com",
    )
)
"""Names of the same services. What they resolve to is judged anyway; a proxy does that out of our sight."""

GLOBAL: Final = IPv6Network("2000::/3")
"""All that is assigned for global unicast; `ipaddress` takes what no registry mentions for global, too."""
TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""IPv6 addresses that end in an IPv4 one (RFC 6052)."""
TRANSLATED_HERE: Final = IPv6Network("64:ff9b:1::/48")
"""The same with a prefix of the site's own (RFC 8215): at their end, or around bits 64 to 71 (RFC 6052 2.2)."""
ENDING_IN_IPV4: Final = (IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96"), TRANSLATED_HERE)
LOW: Final = 0xFFFFFFFF

_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]*|0[0-7]*|[1-9][0-9]*")
_NUMERIC: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


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
    if isinstance(parsed, IPv6Address):
        if any(hidden in METADATA for hidden in _hidden(parsed)):
            return False
        return named or (parsed.is_global and parsed in GLOBAL)
    return named or parsed.is_global


@lru_cache(maxsize=4096)
def may_ask(host: str, named: bool) -> bool:
    """Whether a proxy may be asked for `host`, whose address it alone will see: names of inner services and every
    spelling of a forbidden address are refused."""
    name = host.lower().rstrip(".")
    if not name or not name.isascii() or name in METADATA_HOSTS:
        return False
    if ":" in name:
        return may_call(name, named)
    if _NUMERIC.fullmatch(name.rpartition(".")[2]):
        meant = numeric_address(name)
        return meant is not None and may_call(str(meant), named)
    return named or not (name == "localhost" or name.endswith(".localhost"))


def numeric_address(host: str) -> IPv4Address | None:
    """What a resolver makes of numbers: `127.1`, `0x7f.0.0.1`, `017700000001` and `2130706433` are all 127.0.0.1."""
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    *high, low = map(_number, parts)
    if any(one > 255 for one in high) or low >= 256 ** (4 - len(high)):
        return None
    return IPv4Address(sum(one << (24 - 8 * place) for place, one in enumerate(high)) + low)


def _number(part: str) -> int:
    if part[:2] in ("0x", "0X"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10)


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
            return IPv4Address(int(address) & LOW)
    return address


def _hidden(address: IPv6Address) -> list[IPv4Address]:
    """IPv4 addresses that one of the rarer kinds may lead to, depending on how a site translates."""
    number = int(address)
    found = [IPv4Address(number & LOW)] if any(address in net for net in ENDING_IN_IPV4) else []
    if address in TRANSLATED_HERE:
        found.append(IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF))
    if address.teredo is not None:
        found.extend(address.teredo)
    return found
