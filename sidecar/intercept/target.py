"""Where a request wants to go, read from its target and `Host` alone. Pure."""

from __future__ import annotations

import re
from typing import Final, final

from sidecar.call import Mode
from sidecar.errors import ClientError, Reason

HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)?")
ABSOLUTE: Final = re.compile(rb"(https?)://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)


@final
class Destination:
    """A request's destination before any policy is asked."""

    __slots__ = ("authority", "host", "mode", "port", "secure", "target")

    def __init__(  # noqa: PLR0917
        self,
        mode: Mode,
        host: bytes,
        port: int | None,
        target: bytes,
        authority: bytes = b"",
        secure: bool = False,
    ) -> None:
        self.mode = mode
        self.host = host
        """Lower case, without port; empty when the request names none."""
        self.port = port
        self.target = target
        """Origin form, or `*`."""
        self.authority = authority
        """Host and port as they came."""
        self.secure = secure
        """Whether the application itself wrote `https`."""


def destination(target: bytes, host: bytes | None) -> Destination:
    """Read a request's target. A target in absolute form overrules `Host` (RFC 9112 3.2.2). Raises ClientError."""
    if target.startswith(b"/") or target == b"*":
        name, port = split_authority(host or b"")
        return Destination(Mode.HOST, name, port, target, host or b"")
    absolute = ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise ClientError(Reason.BAD_REQUEST, "the request target is neither a path nor an http(s) URL")
    scheme, authority, rest = absolute.groups()
    name, port = split_authority(authority)
    if not name:
        raise ClientError(Reason.BAD_REQUEST, "the request target names no host")
    if not rest.startswith(b"/"):
        rest = b"/" + rest
    return Destination(Mode.FORWARD, name, port, rest, authority, scheme.lower() == b"https")


def split_authority(authority: bytes) -> tuple[bytes, int | None]:
    """`host[:port]` to lower-case host and port. Raises ClientError, for userinfo too (RFC 9110 4.2.4)."""
    found = AUTHORITY_CACHE.get(authority)
    if found is not None:
        return found
    name, colon, digits = authority.rpartition(b":")
    if not colon or digits.endswith(b"]"):
        name, digits = authority, b""
    if HOST.fullmatch(name) is None or (digits and not (digits.isdigit() and 0 < int(digits) < 65536)):
        raise ClientError(Reason.BAD_REQUEST, "the request's host is not a host name or address with an optional port")
    split = name.lower().rstrip(b"."), int(digits) if digits else None
    if len(AUTHORITY_CACHE) < 1024:
        AUTHORITY_CACHE[authority] = split
    return split


AUTHORITY_CACHE: Final[dict[bytes, tuple[bytes, int | None]]] = {}
"""An application calls few hosts, over and over. Bounded, so that a hostile one gains nothing."""


def split_prefix(target: bytes) -> tuple[bytes, bytes]:
    """A reverse target to its first segment and the rest: `/stripe/v1/x?y` to `stripe` and `/v1/x?y`."""
    path, mark, query = target.partition(b"?")
    name, slash, rest = path[1:].partition(b"/")
    return name, (b"/" + rest if slash else b"/") + mark + query
