"""When a reply past its lifetime is better than none (RFC 9111 4.2.4, RFC 5861, and the policy's ceiling)."""

from __future__ import annotations

from typing import Final

from sidecar.errors import Reason, Verdict
from sidecar.rules.cache.asked import ANYTHING, Asked
from sidecar.rules.cache.entry import Entry, Terms
from sidecar.rules.cache.freshness import age_s

LINGER_S: Final = 3600.0
"""A stale entry is kept this long for requests that take one (`max-stale`)."""
LINGER_VALIDATOR_S: Final = 86400.0
"""One with a validator is kept this long, because it saves the body's way."""
UNKNOWN_TERMS_S: Final = 30 * 86400.0
"""How long what a slower store brings is kept until the first request works out its terms."""

_OK: Final = Verdict.OK
_LOCAL: Final = Verdict.LOCAL
"""As names of this module: to look a member up in its enumeration costs more than the rest of `stands_in_for`."""
_PROVIDER_FAILED: Final = frozenset({Verdict.TRANSIENT, Verdict.UNREACHABLE, Verdict.THROTTLED, Verdict.EXHAUSTED})
_HELD_BACK: Final = frozenset(
    {
        Reason.BREAKER_OPEN,
        Reason.RATE_LIMITED,
        Reason.CONCURRENCY_LIMITED,
        Reason.POOL_EXHAUSTED,
        Reason.ATTEMPT_TIMEOUT,
        Reason.TOTAL_TIMEOUT,
    }
)
"""The sidecar's own refusals that spare the provider or the caller; all others say that the call itself is wrong."""


def staleness_s(entry: Entry, terms: Terms, now_s: float) -> float:
    """How long it has been stale; 0 or less while it is fresh."""
    past_s = age_s(entry, now_s) - entry.lifetime_s
    return max(0.0, past_s) if entry.expired else past_s


def may_stand_in(entry: Entry, terms: Terms, asked: Asked, now_s: float) -> bool:
    """Whether it may be served in place of a failure now. What the application itself insists on is kept to."""
    window_s = terms.error_s
    if asked is not ANYTHING:
        if asked.no_store or asked.no_cache or asked.min_fresh_s:
            return False
        if asked.max_age_s is not None and not _is_young(entry, terms, asked, now_s):
            return False
        if asked.error_s is not None:
            forbidden = terms.strict or terms.must_validate
            window_s = min(window_s, asked.error_s) if forbidden else asked.error_s
    return window_s > 0.0 and staleness_s(entry, terms, now_s) <= window_s


def stands_in_for(verdict: Verdict, reason: Reason | None) -> bool:
    """Whether an outcome is a failure that a kept reply may stand in for; `reason` is None for a provider's reply."""
    if verdict is _OK:
        return False
    if verdict is _LOCAL:
        return reason in _HELD_BACK
    return verdict in _PROVIDER_FAILED


def expires_at_s(entry: Entry, terms: Terms) -> float:
    """Unix time from which it is of no use to anybody: not fresh, no stand-in, and not worth validating any more."""
    # Plain comparisons, since `max` of floats costs more than all else here.
    fresh_for_s = entry.lifetime_s - entry.initial_age_s
    useful_s = _linger_s(terms)
    useful_s = max(useful_s, terms.while_s)
    useful_s = max(useful_s, terms.error_s)
    return entry.received_s + (fresh_for_s if fresh_for_s > 0.0 else 0.0) + useful_s


def kept_until_s(entry: Entry) -> float:
    """`expires_at_s` under the terms that were last worked out, if any were."""
    terms = entry.terms
    return entry.received_s + UNKNOWN_TERMS_S if terms is None else expires_at_s(entry, terms)


def _is_young(entry: Entry, terms: Terms, asked: Asked, now_s: float) -> bool:
    """Whether it is within the request's `max-age`, and the `max-stale` or `stale-if-error` that it adds."""
    allowed_s = (asked.max_age_s or 0.0) + max(asked.max_stale_s or 0.0, asked.error_s or 0.0)
    return age_s(entry, now_s) <= allowed_s


def _linger_s(terms: Terms) -> float:
    if terms.has_validator:
        return LINGER_VALIDATOR_S
    return 0.0 if terms.strict or terms.must_validate else LINGER_S
