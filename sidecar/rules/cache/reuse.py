"""What to do with a request, given what is kept (RFC 9111 4, 5.2.1)."""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import Final, final

from sidecar.http1.message import Headers
from sidecar.rules.cache.asked import ANYTHING, Asked
from sidecar.rules.cache.entry import Entry, Terms, Variants
from sidecar.rules.cache.freshness import age_s, terms_of
from sidecar.rules.cache.key import Keys
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.cache.stale import may_stand_in


class Use(Enum):
    FRESH = "fresh"
    STALE = "stale"
    """Serve it and leave it at that: the request takes a stale reply, or forbids to ask."""
    WHILE = "while"
    """Serve it, and ask the provider behind the caller's back."""
    VALIDATE = "validate"
    """Ask the provider whether it still holds, or for what does."""
    MISS = "miss"
    REFUSED = "refused"
    """The request wants no other answer than a kept one (`only-if-cached`), and there is none: 504."""


@final
class Plan:
    """What is to be done. Never changed: many misses share one."""

    __slots__ = ("age_s", "entry", "ttl_s", "use", "why")

    def __init__(self, use: Use, entry: Entry | None, age_s: float, ttl_s: float, why: str) -> None:
        self.use = use
        self.entry = entry
        """What to serve or validate; None with `MISS`. With `REFUSED` it is what did not do, if there was something."""
        self.age_s = age_s
        self.ttl_s = ttl_s
        """What is left of its lifetime; negative once stale."""
        self.why = why
        """`fwd` of RFC 9211: why it takes the provider to answer; empty when it does not."""


def plan(  # noqa: PLR0917
    asked: Asked,
    variants: Variants,
    keys: Keys,
    headers: Headers,
    settings: CacheSettings,
    now_s: float,
    sick: bool,
) -> Plan:
    """`variants` are those kept under the request's key; `sick` that the provider's last word was a failure."""
    if not variants:
        return _MISS if asked is ANYTHING else _nothing(asked, "uri-miss")
    entry = _chosen(variants, keys, headers)
    if entry is None:
        return _nothing(asked, "vary-miss")
    terms = entry.terms
    if terms is None or terms.settings is not settings:
        terms = terms_of(entry, settings)
    current_age_s = age_s(entry, now_s)
    ttl_s = entry.lifetime_s - current_age_s
    if entry.expired and ttl_s > 0.0:
        ttl_s = 0.0
    is_fresh = ttl_s > 0.0 and not terms.must_validate
    if is_fresh and asked is ANYTHING:
        return Plan(Use.FRESH, entry, current_age_s, ttl_s, "")
    if asked.no_store:
        # Nothing of the provider's answer may be kept, so what is kept could only be in its way.
        return _nothing(asked, "request")
    use = _use(asked, terms, current_age_s, ttl_s, is_fresh)
    if use is Use.VALIDATE and sick and may_stand_in(entry, terms, asked, now_s):
        use = Use.WHILE
    if asked.only_if_cached:
        use = _WITHOUT_ASKING.get(use, use)
    why = "" if use in _SERVES else "request" if is_fresh or asked.no_cache else "stale"
    return Plan(use, entry, current_age_s, ttl_s, why)


_MISS: Final = Plan(Use.MISS, None, 0.0, 0.0, "uri-miss")
_SERVES: Final = frozenset({Use.FRESH, Use.STALE, Use.WHILE})
_WITHOUT_ASKING: Final = {Use.WHILE: Use.STALE, Use.VALIDATE: Use.REFUSED}


def _nothing(asked: Asked, why: str) -> Plan:
    return Plan(Use.REFUSED if asked.only_if_cached else Use.MISS, None, 0.0, 0.0, why)


def _chosen(variants: Variants, keys: Keys, headers: Headers) -> Entry | None:
    """The most recent that the request selects (4.1)."""
    for entry in variants:
        if not entry.vary or keys.matches(entry, headers):
            return entry
    return None


def _use(asked: Asked, terms: Terms, current_age_s: float, ttl_s: float, is_fresh: bool) -> Use:
    if terms.must_validate or asked.no_cache:
        return Use.VALIDATE
    left_s = _left_s(asked, current_age_s, ttl_s)
    if is_fresh and left_s >= 0.0:
        return Use.FRESH
    allowed_s = asked.max_stale_s
    if allowed_s and -min(ttl_s, left_s) <= allowed_s and (is_fresh or not terms.strict):
        return Use.FRESH if is_fresh else Use.STALE
    # A request that says how fresh it wants its reply takes no stale one that it does not allow itself (5.2.1.1).
    if left_s == inf and not is_fresh and -ttl_s < terms.while_s:
        return Use.WHILE
    return Use.VALIDATE


def _left_s(asked: Asked, current_age_s: float, ttl_s: float) -> float:
    """How long the reply will go on being as fresh as the request wants it; `inf` if it does not say."""
    left_s = inf
    if asked.max_age_s is not None:
        # 0 is the customary way to insist on the provider's word, even for what came this very moment.
        left_s = asked.max_age_s - current_age_s if asked.max_age_s else -max(current_age_s, 1e-9)
    if asked.min_fresh_s is not None:
        left_s = min(left_s, ttl_s - asked.min_fresh_s)
    return left_s
