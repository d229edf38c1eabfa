"""What may be kept, and in what shape (RFC 9111 3)."""

from __future__ import annotations

from typing import Final

from sidecar.http1.message import HOP_BY_HOP, Headers
from sidecar.rules.cache.asked import Asked
from sidecar.rules.cache.directives import LONGEST_S, Directives
from sidecar.rules.cache.entry import Entry, Terms
from sidecar.rules.cache.freshness import (
    HEURISTIC,
    UNDERSTOOD,
    has_no_store,
    has_validator,
    is_policy_timed,
    renew,
    stated_s,
    work_out,
)
from sidecar.rules.cache.key import Keys, vary_names
from sidecar.rules.cache.settings import CacheSettings, Rules
from sidecar.rules.cache.targeted import directives_for, expires_for
from sidecar.rules.httpdate import http_date

_NEVER_KEPT: Final = HOP_BY_HOP | {b"age"}
"""3.1. What `Connection` names has been taken out on the wire."""
_SHARED: Final = Rules.SHARED
_PHRASES: Final = {phrase: phrase for phrase in (b"OK", b"Created", b"Moved Permanently", b"Found", b"Not Found")}
"""One object for all entries."""
_MOST_TAGS: Final = 64
_LONGEST_TAG: Final = 128
_NO_WHOLE_REPLY: Final = frozenset({206, 304})
_DIGIT_BYTES: Final = frozenset(b"0123456789")


def passes_by(method: str, headers: Headers, has_body: bool, upgrade: bool) -> str:
    """Why the cache has nothing to do with this GET or HEAD; empty if it has.

    Parts of a reply are neither kept nor served (3.3, 3.4), and `If-Match` and `If-Unmodified-Since` are for the
    provider alone to judge (4.3.2).
    """
    if upgrade:
        return "upgrade"
    if has_body:
        return "body"
    if not headers.notable:
        return ""
    index = headers.index
    if b"range" in index and method == "GET":
        return "range"
    if b"if-match" in index or b"if-unmodified-since" in index:
        return "precondition"
    return ""


def is_storable(  # noqa: PLR0917
    settings: CacheSettings, asked: Asked, authorized: bool, status: int, headers: Headers, ok: bool
) -> bool:
    """Whether a reply to a GET may be kept, and is worth it.

    `authorized`: the request had `Authorization`. `ok`: the policy takes the reply for a success; one below 400 that it
    does not is never kept, since its status lies.
    """
    if asked.no_store or status < 200 or status in _NO_WHOLE_REPLY or (status < 400 and not ok):
        return False
    if vary_names(headers) is None:
        return False
    if is_policy_timed(settings, status):
        return True
    directives = directives_for(settings, headers)
    if directives.has("must-understand") and status not in UNDERSTOOD:
        return False
    if settings.rules is Rules.SHARED and not _may_share(directives, authorized, headers):
        return False
    stands_in = settings.stale_s > 0.0 and status < 400
    if has_no_store(directives, status):
        return stands_in and settings.override
    return _is_cacheable(settings, directives, status, headers) and (
        stands_in or _is_useful(settings, directives, headers)
    )


def make_entry(  # noqa: PLR0917
    settings: CacheSettings,
    keys: Keys,
    asked: Asked,
    request_headers: Headers,
    origin: str,
    target: bytes,
    route: str,
    provider: str,
    tags: tuple[str, ...],
    status: int,
    phrase: bytes,
    headers: Headers,
    body: bytes,
    ok: bool,
    requested_s: float,
    received_s: float,
) -> Entry | None:
    """A reply as it is kept, with its terms; None if it may not be kept (`is_storable`)."""
    authorized = b"authorization" in request_headers
    date = headers.get(b"date")
    terms = None if date is None else _usual_terms(settings, asked, authorized, status, headers, ok)
    if terms is None and not is_storable(settings, asked, authorized, status, headers, ok):
        return None
    names = vary_names(headers)
    if names is None:
        return None
    vary = keys.vary(names, request_headers) if names else ()
    phrase = _PHRASES.get(phrase, phrase)
    kept = headers if terms is not None else kept_headers(settings, headers, received_s)
    if terms is None:
        requested_s -= upstream_age_s(headers)
        tags += tags_of(headers)
    if len(tags) > 1:
        tags = tuple(dict.fromkeys(tags))
    entry = Entry(
        status, phrase, kept.pack(), body, requested_s, received_s, vary, provider, route, origin, target, tags
    )
    if terms is None or date is None:
        entry.terms = _learn(settings, entry, headers, kept)
    else:
        entry.terms = terms
        renew(entry, date, terms)
    return entry


def _usual_terms(  # noqa: PLR0917
    settings: CacheSettings, asked: Asked, authorized: bool, status: int, headers: Headers, ok: bool
) -> Terms | None:
    """The terms of a reply with a `Date` that is like one that was kept before in all else that `is_storable` and
    `work_out` look at."""
    terms = directives_for(settings, headers).terms
    if (
        terms is None
        or not terms.usual
        or not ok
        or asked.no_store
        or terms.settings is not settings
        or terms.status != status
        or (authorized and settings.rules is _SHARED)
    ):
        return None
    return None if headers.notable or terms.has_validator != has_validator(headers) else terms


def _learn(settings: CacheSettings, entry: Entry, headers: Headers, kept: Headers) -> Terms:
    """The terms of an entry that was made of a reply's `headers`, of which it has those `kept`."""
    terms = work_out(entry, kept, directives_for(settings, kept), settings)
    if kept is headers and (terms.stated_s >= 0.0 or is_policy_timed(settings, entry.status)):
        # Where `Expires` is what makes it worth keeping, the next one may be without.
        terms.usual = b"expires" not in headers
    return terms


def kept_headers(settings: CacheSettings, headers: Headers, received_s: float) -> Headers:
    """The fields to keep (3.1), with a `Date` if there is none (RFC 9110 6.6.1): mostly the very ones that came.

    Without those that `no-cache="…"` forbids to reuse unasked and, in a shared cache, `private="…"` to keep at all.
    """
    directives = directives_for(settings, headers)
    unwanted = directives.fields("no-cache")
    if settings.rules is Rules.SHARED:
        unwanted |= directives.fields("private")
    if not unwanted and b"date" in headers and _NEVER_KEPT.isdisjoint(headers.index):
        return headers
    kept = Headers()
    for name, value in headers.fields:
        key = name.lower()
        if key not in _NEVER_KEPT and key not in unwanted:
            kept.append(key, name, value)
    if b"date" not in headers:
        kept.add(b"Date", http_date(received_s))
    return kept


def upstream_age_s(headers: Headers) -> float:
    """How old a reply says it is; of several values the first counts, and one that is no number is ignored (5.1)."""
    value = headers.get(b"age")
    if value is None:
        return 0.0
    first = value.partition(b",")[0].strip()
    if not first or not _DIGIT_BYTES.issuperset(first):
        return 0.0
    return LONGEST_S if len(first) > 10 else min(float(first), LONGEST_S)


def tags_of(headers: Headers) -> tuple[str, ...]:
    """What the provider lets a reply be purged by: `Surrogate-Key` (by spaces) and `Cache-Tag` (by commas)."""
    surrogate, cache_tag = headers.get(b"surrogate-key"), headers.get(b"cache-tag")
    if surrogate is None and cache_tag is None:
        return ()
    tags = (surrogate or b"").replace(b",", b" ").split() + [tag.strip() for tag in (cache_tag or b"").split(b",")]
    texts = [tag.decode("latin-1") for tag in tags if tag and len(tag) <= _LONGEST_TAG]
    return tuple(dict.fromkeys(texts))[:_MOST_TAGS]


def _may_share(directives: Directives, authorized: bool, headers: Headers) -> bool:
    """What only a shared cache must mind: `private` (5.2.2.7) and `Authorization` (3.5). Cookies do not forbid to keep
    a reply (7.3), but then its lifetime must have been stated, not guessed."""
    if directives.is_whole("private"):
        return False
    if authorized and not any(directives.has(name) for name in ("public", "must-revalidate", "s-maxage")):
        return False
    return b"set-cookie" not in headers or directives.has("s-maxage") or _is_timed(directives, headers)


def _is_cacheable(settings: CacheSettings, directives: Directives, status: int, headers: Headers) -> bool:
    """Whether anything in it allows to keep it (3)."""
    if status in HEURISTIC or directives.has("public") or _is_timed(directives, headers):
        return True
    return directives.has("s-maxage" if settings.rules is Rules.SHARED else "private")


def _is_timed(directives: Directives, headers: Headers) -> bool:
    return directives.has("max-age") or expires_for(directives, headers) is not None


def _is_useful(settings: CacheSettings, directives: Directives, headers: Headers) -> bool:
    """Whether it can ever be served or validated; without a lifetime and a validator it only takes up space."""
    if b"etag" in headers or b"last-modified" in headers or expires_for(directives, headers) is not None:
        return True
    if stated_s(directives, settings.rules is Rules.SHARED):
        return True
    return any(directives.seconds(name) for name in ("stale-while-revalidate", "stale-if-error"))
