"""Asking whether a kept reply still holds, and being asked (RFC 9111 4.3, RFC 9110 8.8, 13)."""

from __future__ import annotations

from typing import Final

from sidecar.http1.message import Fields, Headers
from sidecar.rules.cache.directives import split_list
from sidecar.rules.cache.entry import Entry
from sidecar.rules.cache.key import vary_names
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.cache.storing import kept_headers, upstream_age_s
from sidecar.rules.httpdate import http_date_s

CONDITIONAL: Final = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range"}
)
"""The precondition fields, in lower case. A validation carries `conditions` in place of the request's own."""

_NOT_UPDATED: Final = frozenset({b"content-length", b"content-encoding", b"content-range"})
"""What the kept bytes depend on (3.2)."""
_OF_304: Final = frozenset({b"content-location", b"date", b"etag", b"expires", b"vary"})


def conditions(entry: Entry) -> Fields:
    """What makes a request a validation of this entry (4.3.1); none if it has no validator."""
    headers = _kept(entry)
    fields: Fields = []
    etag, modified = _etag(headers), headers.get(b"last-modified")
    if etag is not None:
        fields.append((b"If-None-Match", etag))
    if modified is not None and http_date_s(modified, entry.received_s) is not None:
        fields.append((b"If-Modified-Since", modified))
    return fields


def is_conditional(headers: Headers) -> bool:
    return headers.notable and not CONDITIONAL.isdisjoint(headers.index)


def is_not_modified(entry: Entry, headers: Headers) -> bool:
    """Whether the application has what is kept already, by its own conditions, so that a 304 does (4.3.2)."""
    if not 200 <= entry.status < 300:
        return False
    known = headers.get(b"if-none-match")
    kept = _kept(entry)
    if known is not None:
        # If-Modified-Since then says nothing (RFC 9110 13.1.3).
        return known.strip() == b"*" or _is_listed(_etag(kept), known)
    since = headers.get(b"if-modified-since")
    since_s = None if since is None else http_date_s(since, entry.received_s)
    return since_s is not None and _changed_s(entry, kept) <= since_s


def not_modified_fields(entry: Entry) -> Fields:
    """The fields of that 304: what a cache further on needs to update its copy, and no more (RFC 9110 15.4.5)."""
    wanted = _OF_304 if b"etag" in _kept(entry) else _OF_304 | {b"last-modified"}
    # Targeted fields go by this ending (RFC 9213 2.4), and speak to caches as Cache-Control does.
    return [
        (name, value)
        for name, value in entry.fields
        if (key := name.lower()) in wanted or key.endswith(b"cache-control")
    ]


def confirms(entry: Entry, reply_headers: Headers) -> bool:
    """Whether a 304 that answers `conditions(entry)` is about this entry (4.3.4).

    If not, the provider must be asked again without conditions. One that names no validator is: it was asked about
    nothing else.
    """
    return _selects_alike(entry, reply_headers) and _has_same_validator(_kept(entry), reply_headers)


def freshen(
    entry: Entry, reply_headers: Headers, requested_s: float, received_s: float, settings: CacheSettings
) -> Entry:
    """The entry with the fields of a 304 or HEAD reply in place of its own of the same names (3.2).

    Ask `is_storable` about the result: the new fields may forbid to keep it.
    """
    said = kept_headers(settings, reply_headers, received_s)
    update = [field for field in said.fields if _may_update(field[0])]
    replaced = {name.lower() for name, _ in update}
    merged = Headers([field for field in entry.fields if field[0].lower() not in replaced] + update)
    return Entry(
        status=entry.status,
        phrase=entry.phrase,
        # What the new Cache-Control forbids to reuse goes, even if it was kept before.
        packed=kept_headers(settings, merged, received_s).pack(),
        body=entry.body,
        requested_s=requested_s - upstream_age_s(reply_headers),
        received_s=received_s,
        vary=entry.vary,
        provider=entry.provider,
        route=entry.route,
        origin=entry.origin,
        target=entry.target,
        tags=entry.tags,
    )


def head_agrees(entry: Entry, reply_headers: Headers) -> bool:
    """Whether a 200 to a HEAD speaks of what is kept, so that it may `freshen` it; if not, that is stale (4.3.5)."""
    length = reply_headers.get(b"content-length")
    if length is not None and length.strip() != b"%d" % entry.body_bytes:
        return False
    kept = _kept(entry)
    for name in (b"etag", b"last-modified"):
        value = reply_headers.get(name)
        if value is not None and value != kept.get(name):
            return False
    return entry.status == 200 and _selects_alike(entry, reply_headers)


def _kept(entry: Entry) -> Headers:
    return entry.headers or Headers(entry.fields)


def _may_update(name: bytes) -> bool:
    return name.lower() not in _NOT_UPDATED


def _selects_alike(entry: Entry, reply_headers: Headers) -> bool:
    """Whether the reply varies by nothing that the entry was not kept apart by."""
    names = vary_names(reply_headers)
    return names is not None and {name for name, _ in entry.vary}.issuperset(names)


def _has_same_validator(kept: Headers, reply: Headers) -> bool:
    tag, kept_tag = _etag(reply), _etag(kept)
    if tag is not None and kept_tag is not None:
        # A strong tag is only the same as a strong one; weak ones are alike if they name the same.
        return tag == kept_tag if _is_strong(tag) else _opaque(tag) == _opaque(kept_tag)
    modified = reply.get(b"last-modified")
    if modified is not None:
        return modified == kept.get(b"last-modified")
    return tag is None


def _etag(headers: Headers) -> bytes | None:
    """The entity tag; None if there is none, or more than one, so that it identifies nothing."""
    value = headers.get(b"etag")
    if value is None or not value.strip():
        return None
    return value if len(split_list(value)) == 1 else None


def _is_listed(etag: bytes | None, known: bytes) -> bool:
    """Weak comparison (RFC 9110 8.8.3.2). What is no proper tag can still be the same, byte for byte."""
    return etag is not None and _opaque(etag) in [_opaque(tag) for tag in split_list(known)]


def _is_strong(tag: bytes) -> bool:
    return not tag.startswith(b"W/")


def _opaque(tag: bytes) -> bytes:
    return tag.strip().removeprefix(b"W/")


def _changed_s(entry: Entry, kept: Headers) -> float:
    """When it last changed; failing that, when it was made, or came (4.3.2)."""
    for name in (b"last-modified", b"date"):
        value = kept.get(name)
        moment_s = None if value is None else http_date_s(value, entry.received_s)
        if moment_s is not None:
            return moment_s
    return entry.received_s
