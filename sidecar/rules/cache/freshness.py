"""How long a reply is good, and how old it is (RFC 9111 4.2).

Whatever is malformed, contradicts itself or lies in the future makes a reply older or shorter-lived, never fresher.
"""

from __future__ import annotations

from typing import Final

from sidecar.http1.message import Headers
from sidecar.rules.cache.directives import Directives
from sidecar.rules.cache.entry import Entry, Terms
from sidecar.rules.cache.settings import CacheSettings, Rules
from sidecar.rules.cache.targeted import directives_for, expires_for
from sidecar.rules.httpdate import http_date_s

HEURISTIC: Final = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""Statuses whose lifetime may be guessed (RFC 9110 15.1); 206 is never kept here."""
HEURISTIC_RATIO: Final = 0.1
"""Of the time since a reply last changed, the share for which it is believed not to change (4.2.2)."""
HEURISTIC_CAP_S: Final = 86400.0
UNDERSTOOD: Final = frozenset(
    {200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308}
    | {400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 417, 421, 422, 426}
    | {500, 501, 502, 503, 504, 505}
)
"""Statuses whose caching rules are known and kept here (5.2.2.3): those of RFC 9110 without 206, 304 and 416."""
SKEW_S: Final = 5.0
"""By how much clocks may disagree before an entry counts as from the future."""

_IS_GONE: Final = frozenset({404, 410})
"""Errors that are an answer: that there is no such thing is worth as much, when stale, as what a thing was like."""


def terms_of(entry: Entry, settings: CacheSettings) -> Terms:
    """What an entry's own fields and a policy's settings give it; worked out once for each settings."""
    terms = entry.terms
    if terms is None or terms.settings is not settings:
        headers = Headers(entry.fields)
        terms = entry.terms = work_out(entry, headers, directives_for(settings, headers), settings)
    return terms


def age_s(entry: Entry, now_s: float) -> float:
    """The current age of one whose terms have been worked out, never negative (4.2.3).

    One that was received in the future, by a clock that has since been put back, is at least as old as it may get while
    fresh: nobody can say how old it really is.
    """
    resident_s = now_s - entry.received_s
    if resident_s >= 0.0:
        return entry.initial_age_s + resident_s
    if resident_s >= -SKEW_S:
        return entry.initial_age_s
    return max(entry.initial_age_s, entry.lifetime_s) - resident_s


def has_no_store(directives: Directives, status: int) -> bool:
    """Whether `no-store` holds: `must-understand` lifts it for a status that is understood (5.2.2.3)."""
    return directives.has("no-store") and not (directives.has("must-understand") and status in UNDERSTOOD)


def stated_s(directives: Directives, shared: bool) -> float | None:
    """The lifetime that directives state; `s-maxage` is for shared caches, and then comes first (4.2.1)."""
    said_s = directives.seconds("s-maxage") if shared else None
    return directives.seconds("max-age") if said_s is None else said_s


def is_policy_timed(settings: CacheSettings, status: int) -> bool:
    """Whether the policy's own lifetime is for replies of this status: errors keep the provider's."""
    return settings.ttl_s is not None and status < 400


def work_out(entry: Entry, headers: Headers, directives: Directives, settings: CacheSettings) -> Terms:
    """`terms_of` an entry whose fields are at hand as `headers`, and what they say (`directives_for`); its
    `initial_age_s` and `lifetime_s`, too."""
    date = headers.get(b"date")
    date_s = None if date is None else http_date_s(date, entry.received_s)
    entry.initial_age_s = _initial_age_s(entry, date_s)
    heuristic, stated = False, -1.0
    if settings.ttl_s is not None and is_policy_timed(settings, entry.status):
        entry.lifetime_s = entry.initial_age_s + settings.ttl_s
    else:
        said_s = stated_s(directives, settings.rules is Rules.SHARED)
        if said_s is None:
            entry.lifetime_s, heuristic = _lifetime_s(entry, headers, directives, date_s)
        else:
            entry.lifetime_s = stated = said_s
    last, validator = directives.terms, has_validator(headers)
    if (
        last is not None
        and last.settings is settings
        and last.status == entry.status
        and last.has_validator == validator
        and last.heuristic == heuristic
    ):
        return last
    terms = directives.terms = _terms(directives, settings, entry.status, stated, heuristic, validator)
    return terms


def renew(entry: Entry, date: bytes, terms: Terms) -> None:
    """What `work_out` gives an entry beside its terms, if these are `usual` ones."""
    entry.initial_age_s = _initial_age_s(entry, http_date_s(date, entry.received_s))
    stated_s, ttl_s = terms.stated_s, terms.settings.ttl_s
    entry.lifetime_s = stated_s if stated_s >= 0.0 or ttl_s is None else entry.initial_age_s + ttl_s


def _terms(  # noqa: PLR0917
    directives: Directives,
    settings: CacheSettings,
    status: int,
    stated_s: float,
    heuristic: bool,
    validator: bool,
) -> Terms:
    shared = settings.rules is Rules.SHARED
    withheld = (
        directives.is_whole("no-cache")
        or has_no_store(directives, status)
        or (shared and directives.is_whole("private"))
    )
    strict = _is_strict(directives, shared)
    return Terms(
        settings=settings,
        status=status,
        stated_s=stated_s,
        heuristic=heuristic,
        must_validate=withheld and not is_policy_timed(settings, status),
        while_s=0.0 if strict or withheld else directives.seconds("stale-while-revalidate") or 0.0,
        error_s=_error_s(status, directives, settings, strict or withheld),
        strict=strict,
        has_validator=validator,
    )


def has_validator(headers: Headers) -> bool:
    """Whether the provider can be asked if a reply still holds (4.3.1)."""
    return b"etag" in headers or b"last-modified" in headers


def _initial_age_s(entry: Entry, date_s: float | None) -> float:
    """The corrected initial age (4.2.3). `requested_s` has what `Age` said taken off already."""
    # Plain comparisons, since `max` of floats costs more than all else here.
    initial_age_s = entry.received_s - entry.requested_s
    if date_s is not None and entry.received_s - date_s > initial_age_s:
        initial_age_s = entry.received_s - date_s
    return initial_age_s if initial_age_s > 0.0 else 0.0


def _lifetime_s(entry: Entry, headers: Headers, directives: Directives, date_s: float | None) -> tuple[float, bool]:
    """The freshness lifetime of a reply whose directives state none (4.2.1), and whether it was guessed."""
    received_s = entry.received_s
    expires = expires_for(directives, headers)
    if expires is not None:
        expires_s = http_date_s(expires, received_s)
        if expires_s is None:  # `0` above all: already expired (5.3)
            return 0.0, False
        return max(0.0, expires_s - (received_s if date_s is None else date_s)), False
    modified = headers.get(b"last-modified")
    if modified is None or not (entry.status in HEURISTIC or directives.has("public")):
        return 0.0, True
    modified_s = http_date_s(modified, received_s)
    if modified_s is None:
        return 0.0, True
    # A Date that runs ahead must not make it look unchanged for longer.
    unchanged_s = (received_s if date_s is None else min(date_s, received_s)) - modified_s
    return min(max(0.0, unchanged_s * HEURISTIC_RATIO), HEURISTIC_CAP_S), True


def _is_strict(directives: Directives, shared: bool) -> bool:
    """Whether the reply may not be used once stale (4.2.4, 5.2.2.2, 5.2.2.8, 5.2.2.10)."""
    if directives.has("must-revalidate"):
        return True
    return shared and (directives.has("proxy-revalidate") or directives.has("s-maxage"))


def _error_s(status: int, directives: Directives, settings: CacheSettings, forbidden: bool) -> float:
    """How long past its lifetime it may stand in for a failure."""
    ceiling_s = settings.stale_s if status < 400 or status in _IS_GONE else 0.0
    if forbidden:
        return ceiling_s if settings.override else 0.0
    return max(ceiling_s, directives.seconds("stale-if-error") or 0.0)
