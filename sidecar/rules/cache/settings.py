"""How one route's cache behaves, as its policy says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Rules(Enum):
    """Which of RFC 9111's two sets of rules holds."""

    PRIVATE = "private"
    """The application's own cache. Entries are kept apart by credential, so replies to authorised requests may be."""
    SHARED = "shared"
    """The stricter set: `s-maxage`, `private` and section 3.5 on `Authorization` count."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Compared by identity on the call path: `Entry.terms` is worked out anew when a reload brings other settings."""

    rules: Rules = Rules.PRIVATE
    ttl_s: float | None = None
    """The policy's own lifetime, in place of whatever the provider says; None to believe the provider."""
    stale_s: float = 0.0
    """How long past its lifetime a reply may stand in while the provider fails; what the provider itself allows
    (`stale-if-error`) holds beside it, and the longer wins."""
    override: bool = False
    """Stand in even for what is marked `must-revalidate` or `no-store`, which is then kept for that alone."""
    targets: tuple[bytes, ...] = ()
    """Fields, in lower case, that are obeyed in place of `Cache-Control` and `Expires`: the first that a reply has
    (RFC 9213 2.2)."""
    vary_on: tuple[bytes, ...] = ()
    """Request fields, in lower case, that tell entries apart whatever `Vary` says."""
    coalesce: bool = True
    max_entry_bytes: int = 1024 * 1024
    """Bodies larger than this pass by."""
    tags: tuple[str, ...] = ()
    """What entries can be purged by, beside the provider's own `Surrogate-Key` and `Cache-Tag`; `{name}` stands for a
    segment of the route's path."""
