"""Entries and exchanges for the cache's rules, in few words."""

from __future__ import annotations

from sidecar.http1.message import Headers
from sidecar.rules.cache.asked import ask
from sidecar.rules.cache.entry import Entry
from sidecar.rules.cache.freshness import terms_of
from sidecar.rules.cache.key import Keys, vary_names
from sidecar.rules.cache.reuse import Plan, plan
from sidecar.rules.cache.settings import CacheSettings, Rules
from sidecar.rules.cache.storing import is_storable, kept_headers, make_entry, tags_of, upstream_age_s
from sidecar.rules.httpdate import http_date
from tests.fakes import Fields, make_headers

NOW_S = 1_800_000_000.0
"""When replies come; a whole second, so that dates tell it exactly."""
ORIGIN = "https://api.stripe.com"
PRIVATE = CacheSettings()
SHARED = CacheSettings(rules=Rules.SHARED)
STALE = CacheSettings(stale_s=600.0)
OVERRIDE = CacheSettings(stale_s=600.0, override=True)
TTL = CacheSettings(ttl_s=60.0)
KEYS = Keys(b"secret", "stripe", ORIGIN)


def date(offset_s: float = 0.0) -> str:
    return http_date(NOW_S + offset_s).decode()


def make_entry_of(
    fields: Fields = (),
    *,
    settings: CacheSettings = PRIVATE,
    request: Fields = (),
    status: int = 200,
    body: bytes = b"{}",
    took_s: float = 0.0,
) -> Entry:
    """A reply that came at `NOW_S`, kept whether or not it may be."""
    headers = make_headers(fields)
    kept = kept_headers(settings, headers, NOW_S)
    entry = Entry(
        status=status,
        phrase=b"OK",
        packed=kept.pack(),
        body=body,
        requested_s=NOW_S - took_s - upstream_age_s(headers),
        received_s=NOW_S,
        vary=KEYS.vary(vary_names(headers) or (), make_headers(request)),
        provider="stripe",
        route="charges",
        origin=ORIGIN,
        target=b"/v1/charges",
        tags=("policy", *tags_of(headers)),
    )
    terms_of(entry, settings)
    return entry


def may_store(
    fields: Fields = (),
    settings: CacheSettings = PRIVATE,
    *,
    request: Fields = (),
    status: int = 200,
    ok: bool | None = None,
) -> bool:
    asked_by = make_headers(request)
    is_ok = status < 400 if ok is None else ok
    return is_storable(settings, ask(asked_by), b"authorization" in asked_by, status, make_headers(fields), is_ok)


def kept_of(
    fields: Fields, settings: CacheSettings = PRIVATE, *, request: Fields = (), status: int = 200, ok: bool = True
) -> Entry | None:
    """What is kept of a reply that came at `NOW_S`; None if nothing is."""
    asked_by, headers, target = make_headers(request), make_headers(fields), b"/v1/charges"
    return make_entry(
        settings,
        KEYS,
        ask(asked_by),
        asked_by,
        ORIGIN,
        target,
        "charges",
        "stripe",
        ("policy",),
        status,
        b"OK",
        headers,
        b"{}",
        ok,
        NOW_S - 0.5,
        NOW_S,
    )


def plan_for(
    entry: Entry | None,
    after_s: float = 0.0,
    request: Fields = (),
    settings: CacheSettings = PRIVATE,
    *,
    sick: bool = False,
) -> Plan:
    headers: Headers = make_headers(request)
    variants = () if entry is None else (entry,)
    return plan(ask(headers), variants, KEYS, headers, settings, NOW_S + after_s, sick)


def use_after(
    fields: Fields,
    after_s: float = 3.0,
    request: Fields = (),
    settings: CacheSettings = PRIVATE,
    *,
    first: Fields = (),
    status: int = 200,
) -> str:
    """What becomes of a reply: `not kept`, or what it is to a request that comes `after_s` later."""
    if not may_store(fields, settings, request=first, status=status):
        return "not kept"
    entry = make_entry_of(fields, settings=settings, request=first, status=status)
    return plan_for(entry, after_s, request, settings).use.value
