from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.cache.asked import ANYTHING, Asked, ask
from tests.fakes import make_headers


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        ("no-store", Asked(no_store=True)),
        ("no-cache", Asked(no_cache=True)),
        ("NO-CACHE", Asked(no_cache=True)),
        ("only-if-cached", Asked(only_if_cached=True)),
        ("max-age=60", Asked(max_age_s=60.0)),
        ("max-age=soon", Asked(max_age_s=0.0)),
        ("min-fresh=30", Asked(min_fresh_s=30.0)),
        ("max-stale", Asked(max_stale_s=inf)),
        ("max-stale=90", Asked(max_stale_s=90.0)),
        ("max-stale=soon", Asked(max_stale_s=0.0)),
        ("stale-if-error=90", Asked(error_s=90.0)),
        ("no-cache, max-age=0", Asked(no_cache=True, max_age_s=0.0)),
        ("max-age=1" + ", x" * 200, Asked(max_age_s=1.0)),
    ],
)
def test_each_directive(value: str, asked: Asked) -> None:
    assert ask(make_headers({"Cache-Control": value})) == asked


@pytest.mark.parametrize(
    "fields", [{}, {"Cache-Control": "no-transform, x=y"}, {"Pragma": "x"}, {"Accept": "no-cache"}]
)
def test_who_says_nothing_asks_for_anything(fields: dict[str, str]) -> None:
    assert ask(make_headers(fields)) is ANYTHING


def test_pragma_counts_only_without_cache_control() -> None:
    assert ask(make_headers({"Pragma": "x, No-Cache"})).no_cache
    assert ask(make_headers({"Pragma": "no-cache", "Cache-Control": "max-age=60"})) == Asked(max_age_s=60.0)


@given(st.binary(max_size=300))
def test_garbage_is_read_without_complaint(value: bytes) -> None:
    asked = ask(make_headers([(b"Cache-Control", value)]))
    assert asked.max_age_s is None or asked.max_age_s >= 0.0
