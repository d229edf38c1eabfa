"""Kept replies as a person sees them: how old, how long yet, of whom; of their fields only those that cannot be secret.

What may live here: choosing, sorting and describing. Times are Unix seconds and are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from typing import Any, Final, TypeAlias

from sidecar.admin.port import Selection
from sidecar.rules.cache.entry import URI_BYTES, Entry, Key, Terms
from sidecar.rules.cache.freshness import age_s, terms_of
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.cache.stale import staleness_s

Kept: TypeAlias = tuple[Key, Entry]
SettingsOf: TypeAlias = Callable[[str, str], CacheSettings | None]
"""(provider, route) to how its replies are kept; None when no policy keeps them any more."""

KEY_DIGITS_MIN: Final = 8
"""Fewer hex digits of a key than these name no entry."""
NOBODY: Final = "none"
"""In place of a credential's digits, where the request had none."""
HARMLESS: Final = frozenset(
    (
        b"accept-ranges",
        b"allow",
        b"cache-control",
        b"cdn-cache-control",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-type",
        b"date",
        b"expires",
        b"last-modified",
        b"pragma",
        b"retry-after",
        b"server",
        b"vary",
    )
)
"""Fields whose values are shown. An `ETag` is not among them: some are made of what they stand for."""
HIDDEN: Final = "…"
VALUE_MAX_CHARS: Final = 200


def chosen(kept: Iterable[Kept], which: Selection) -> Iterator[Kept]:
    """Those for which everything holds that `which` says; it has no `url` left."""
    begins = None if which.key is None else key_test(which.key)
    for key, entry in kept:
        if (
            (which.provider is None or entry.provider == which.provider)
            and (which.route is None or entry.route == which.route)
            and (which.tag is None or which.tag in entry.tags)
            and (begins is None or begins(key))
        ):
            yield key, entry


def key_test(text: str) -> Callable[[Key], bool]:
    """Whether a key is the one that `text` gives, whole or in short: hex digits that it begins with, at least eight;
    with a dash, digits that its URL's part and its credential's part begin with, or `none` for no credential."""
    head, dash, tail = text.lower().partition("-")
    if len(head) < KEY_DIGITS_MIN:
        return lambda key: False
    if not dash:
        return lambda key: key.hex().startswith(head)
    if tail == NOBODY:
        return lambda key: len(key) == URI_BYTES and key.hex().startswith(head)
    return lambda key: key[:URI_BYTES].hex().startswith(head) and partition_of(key).startswith(tail)


def partition_of(key: Key) -> str:
    """Whose reply it is, in hex: empty if anybody's."""
    return key[URI_BYTES:].hex()


def most_recent(kept: Iterable[Kept], count: int) -> list[Kept]:
    """The `count` that were received last, the last first."""
    return nlargest(count, kept, key=lambda one: one[1].received_s)


def summary(key: Key, entry: Entry, now_s: float, settings_of: SettingsOf) -> dict[str, Any]:
    """One entry on one line."""
    return {
        "key": key.hex(),
        "url": entry.shown,
        "status": entry.status,
        "provider": entry.provider,
        "route": entry.route,
        "tags": entry.tags,
        "partition": partition_of(key)[:8],
        "size_bytes": entry.size_bytes,
        **_times(entry, _terms(entry, settings_of), now_s),
    }


def details(key: Key, entry: Entry, now_s: float, settings_of: SettingsOf) -> dict[str, Any]:
    """All that can be shown of one entry; its body cannot."""
    terms = _terms(entry, settings_of)
    return {
        **summary(key, entry, now_s, settings_of),
        "received_s": round(entry.received_s, 3),
        "lifetime_s": None if terms is None else round(entry.lifetime_s, 3),
        "heuristic": terms is not None and terms.heuristic,
        "must_validate": terms is not None and terms.must_validate,
        "varies_by": [_text(name) for name, _ in entry.vary],
        "fields": [{"name": _text(name), "value": _value(name, value)} for name, value in entry.fields],
        "body_bytes": entry.body_bytes,
    }


def _terms(entry: Entry, settings_of: SettingsOf) -> Terms | None:
    """As the calls have them; under the policy in force, if no call has asked yet."""
    if entry.terms is not None:
        return entry.terms
    settings = settings_of(entry.provider, entry.route)
    return None if settings is None else terms_of(entry, settings)


def _times(entry: Entry, terms: Terms | None, now_s: float) -> dict[str, Any]:
    if terms is None:
        return {"age_s": round(max(0.0, now_s - entry.received_s), 3), "ttl_s": None, "stale_left_s": None}
    stale_s = staleness_s(entry, terms, now_s)
    return {
        "age_s": round(age_s(entry, now_s), 3),
        "ttl_s": round(0.0 - stale_s, 3),
        "stale_left_s": round(max(0.0, terms.error_s - stale_s), 3) if terms.error_s > 0 else None,
    }


def _value(name: bytes, value: bytes) -> str:
    return _text(value)[:VALUE_MAX_CHARS] if name.lower() in HARMLESS else HIDDEN


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
