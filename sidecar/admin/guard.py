"""Who may ask, and who may change: decided from the request's fields alone.

A listener on loopback trusts whoever can reach it, but a web page in a browser on the same machine can reach it too: by
a name that resolves to 127.0.0.1 (DNS rebinding), or by posting a form across sites. Both give themselves away in the
fields that a page cannot choose: Host, Origin and Sec-Fetch-Site.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hmac import compare_digest

from sidecar.address import is_ip

READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a request is refused. `challenge` is the WWW-Authenticate of a 401."""

    status: int
    detail: str
    challenge: str = ""


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules of one listener."""

    loopback: bool
    """It can only be reached from this machine or pod."""
    token: str | None = field(repr=False)

    def denial(self, method: str, headers: Mapping[str, str]) -> Denial | None:
        """None when the request may be answered. Names in `headers` are looked up without regard to case."""
        host = headers.get("Host", "")
        if self.loopback and not _is_local(host):
            return Denial(421, "This listener is on loopback: ask for it as localhost or by its IP address.")
        if method in READING:
            return None
        if not _same_site(host, headers):
            return Denial(403, "Changes are not taken from other sites' pages.")
        return None if self.loopback else self._token_denial(headers.get("Authorization", ""))

    def _token_denial(self, authorization: str) -> Denial | None:
        if self.token is None:
            return Denial(403, "Changes are off on this listener: start the sidecar with SIDECAR_ADMIN_TOKEN set.")
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return Denial(
                401, "Send the token of SIDECAR_ADMIN_TOKEN as Authorization: Bearer.", 'Bearer realm="admin"'
            )
        # In constant time: how long a comparison takes must not tell how much of the token was right.
        if not compare_digest(credentials.strip().encode(), self.token.encode()):
            challenge = 'Bearer realm="admin", error="invalid_token"'
            return Denial(401, "The token is not the one of SIDECAR_ADMIN_TOKEN.", challenge)
        return None


def _is_local(host: str) -> bool:
    """Whether a Host is an IP address or a name that no DNS server is asked for; without one, no browser asks."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    name = name.lower().removesuffix(".")
    return not host or name == "localhost" or name.endswith(".localhost") or is_ip(name)


def _same_site(host: str, headers: Mapping[str, str]) -> bool:
    origin = headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return False
    return headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
