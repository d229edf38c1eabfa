from __future__ import annotations

from sidecar.telemetry.cache_book import CacheBook
from sidecar.telemetry.instruments import Meters
from tests.telemetry.test_calls import points


def test_requests_are_counted_by_what_became_of_them() -> None:
    meters = Meters()
    book = CacheBook(meters, "stripe", "get-customer")
    for result in ("miss", "hit", "hit", "stale"):
        book.count(result)
    CacheBook(meters, "stripe", "-").count("bypass")
    assert points(meters, "sidecar.cache.requests") == {
        ("stripe", "get-customer", "miss"): 1,
        ("stripe", "get-customer", "hit"): 2,
        ("stripe", "get-customer", "stale"): 1,
        ("stripe", "-", "bypass"): 1,
    }


def test_what_never_happened_has_no_child() -> None:
    meters = Meters()
    CacheBook(meters, "stripe", "-")
    assert points(meters, "sidecar.cache.requests") == {}
