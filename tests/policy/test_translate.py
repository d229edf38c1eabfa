"""What a policy says of `cache` and `fallback`, as their rules take it; other steps stand in `test_compile.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from sidecar.errors import Reason, Verdict
from sidecar.policy import translate
from sidecar.policy.model import ProviderPolicy
from sidecar.policy.names import Origin
from sidecar.rules.cache.settings import CacheSettings, Rules
from sidecar.rules.fallback import READS, Condition
from tests.policy.documents import load as load_files

Load: TypeAlias = Callable[[str], ProviderPolicy]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str) -> ProviderPolicy:
        loaded = load_files(tmp_path, policy="provider: stripe\nhosts: [api.stripe.com]\n" + text)
        assert loaded.problems == ()
        return loaded.providers[0]

    return load


def test_every_word_of_a_cache_reaches_it(load: Load) -> None:
    policy = load(
        "cache:\n  {store: shared, ttl: 1m, stale: {for: 1h, override: true}, vary_on: [X-Tenant, x-tenant],"
        " coalesce: false, max_entry: 64KiB}\n"
        'routes: [{name: a, match: {path: "/v1/{kind}/{id}"}, cache: {tags: ["{kind}-{id}"]}}]\n'
    )
    settings = translate.cache(policy)
    assert settings == CacheSettings(
        Rules.SHARED,
        60.0,
        stale_s=3600.0,
        override=True,
        targets=(b"cdn-cache-control",),
        vary_on=(b"x-tenant",),
        coalesce=False,
        max_entry_bytes=65536,
    )
    route = translate.cache(policy.routes[0])
    assert route is not None
    assert settings is not None
    assert route == replace(settings, tags=("{kind}-{id}",))


@pytest.mark.parametrize(
    ("written", "targets"),
    [
        ("{store: private}", ()),
        ("{store: shared}", (b"cdn-cache-control",)),
        ("{store: shared, targets: []}", ()),
        ("{targets: [CDN-Cache-Control]}", (b"cdn-cache-control",)),
        (
            "{store: shared, targets: [Acme-Cache-Control, acme-cache-control, CDN-Cache-Control]}",
            (b"acme-cache-control", b"cdn-cache-control"),
        ),
    ],
)
def test_a_shared_cache_obeys_what_is_said_to_cdns_unless_the_policy_says_otherwise(
    load: Load, written: str, targets: tuple[bytes, ...]
) -> None:
    settings = translate.cache(load(f"cache: {written}"))
    assert settings is not None
    assert settings.targets == targets


def test_a_routes_own_store_brings_its_own_targets(load: Load) -> None:
    policy = load('cache: {store: shared}\nroutes: [{name: a, match: {path: "/"}, cache: {store: private}}]\n')
    settings = translate.cache(policy.routes[0])
    assert settings is not None
    assert settings.targets == ()


@pytest.mark.parametrize(
    ("provider", "route", "rules", "ttl_s"),
    [
        ("{store: private}", "{ttl: 60s, stale: 7d}", Rules.PRIVATE, 60.0),
        ("{store: shared}", "{ttl: 60s}", Rules.PRIVATE, 60.0),
        ("{store: shared}", "{store: {ttl: 60s}}", Rules.PRIVATE, 60.0),
        ("{store: shared}", "{store: shared, ttl: 60s}", Rules.SHARED, 60.0),
        ("{store: {ttl: 5m}}", "{ttl: 60s}", Rules.PRIVATE, 60.0),
        ("{ttl: 5m}", "{store: {ttl: 60s}}", Rules.PRIVATE, 60.0),
        ("{ttl: 5m}", "{store: shared}", Rules.SHARED, None),
        ("{ttl: 5m}", "{ttl: off}", Rules.PRIVATE, None),
        ("{ttl: 5m, stale: 1d}", "{coalesce: false}", Rules.PRIVATE, 300.0),
        ("{store: off}", "{ttl: 60s}", Rules.PRIVATE, 60.0),
        ("off", "{ttl: 60s}", Rules.PRIVATE, 60.0),
        ("off", "{}", Rules.PRIVATE, None),
    ],
)
def test_a_routes_store_or_ttl_takes_the_place_of_both(load: Load, provider: str, route: str, rules, ttl_s) -> None:
    policy = load(f"cache: {provider}\nroutes: [{{name: a, match: {{}}, cache: {route}}}]\n")
    settings = translate.cache(policy.routes[0])
    assert settings is not None
    assert (settings.rules, settings.ttl_s) == (rules, ttl_s)


@pytest.mark.parametrize("route", ["off", "{store: off}", "{store: off, ttl: 60s, stale: 1d}"])
def test_a_route_need_not_be_kept(load: Load, route: str) -> None:
    policy = load(f"cache: {{ttl: 5m}}\nroutes: [{{name: a, match: {{}}, cache: {route}}}]\n")
    assert translate.cache(policy.routes[0]) is None
    assert policy.caches


def test_a_lone_stale_takes_the_place_of_the_whole(load: Load) -> None:
    policy = load(
        "cache: {stale: {for: 1h, override: true}}\nroutes:\n"
        "  - {name: a, match: {method: GET}, cache: {stale: 7d}}\n"
        "  - {name: b, match: {method: PUT}, cache: {stale: {for: 2h}}}\n"
        "  - {name: c, match: {method: POST}, cache: {stale: off}}\n"
    )
    found = [translate.cache(route) for route in policy.routes]
    assert [(one.stale_s, one.override) for one in found if one] == [(604800.0, False), (7200.0, True), (0.0, False)]


def test_every_word_of_a_fallback_reaches_it(load: Load, tmp_path: Path) -> None:
    (tmp_path / "flags.json").write_bytes(b'{"{": 1}')
    policy = load(
        "fallback:\n"
        "  - when: {reason: breaker-open, outcome: [transient, exhausted], status: 5xx, method: POST}\n"
        "    status: 203\n"
        '    headers: {X-Note: "made {{up}}", content-type: text/calendar}\n'
        '    json: {next: null, at: 2026-11-22, on: true, "{": ["{{}}", 1.5]}\n'
        "  - {when: {method: [GET]}, file: flags.json}\n"
        "  - {when: {status: 404}, status: 299}\n"
        "  - {status: 503, text: 'äöü'}\n"
    )
    first, second, third, last = translate.fallback(policy, None)
    assert first.when == Condition(
        frozenset({Reason.BREAKER_OPEN}),
        frozenset({Verdict.TRANSIENT, Verdict.EXHAUSTED}),
        frozenset(range(500, 600)),
        frozenset({"POST"}),
    )
    headers, body = first.compose({})
    assert headers.fields == [
        (b"X-Note", b"made {up}"),
        (b"content-type", b"text/calendar"),
        (b"Content-Length", b"56"),
    ]
    assert body == b'{"next":null,"at":"2026-11-22","on":true,"{":["{}",1.5]}'
    assert (first.status, first.phrase) == (203, b"Non-Authoritative Information")
    headers, body = second.compose({})
    assert (headers.get(b"content-type"), body) == (b"application/json", b'{"{": 1}')
    assert second.when == Condition(methods=frozenset({"GET"}))
    assert (third.phrase, third.compose({})[0].fields) == (b"", [(b"Content-Length", b"0")])
    assert third.when == Condition(statuses=frozenset({404}), methods=READS)
    headers, body = last.compose({})
    assert (headers.get(b"content-type"), body.decode()) == (b"text/plain; charset=utf-8", "äöü")
    assert last.when == Condition(methods=READS)


@pytest.mark.parametrize(
    ("name", "media_type"), [("a.TXT", b"text/plain; charset=utf-8"), ("a", b"application/octet-stream")]
)
def test_a_files_ending_says_what_it_is(load: Load, tmp_path: Path, name: str, media_type: bytes) -> None:
    (tmp_path / name).write_bytes(b"\xff{id}")
    (rung,) = translate.fallback(load(f"fallback: [{{file: {name}}}]\n"), None)
    headers, body = rung.compose({"id": "7"})
    assert (headers.get(b"content-type"), body) == (media_type, b"\xff{id}"), "a file goes out as it is"


def test_what_a_route_inherits_stays_for_reads_wherever_calls_go(load: Load) -> None:
    policy = load(
        "fallback: [{text: x}]\nroutes:\n"
        "  - {name: a, match: {path: /a}}\n  - {name: b, match: {path: /b}, fallback: [{text: x}]}\n"
    )
    towards = policy.model_copy(update={"upstream": Origin("https", "other.com", 443)})
    methods = [rung.when.methods for route in towards.routes for rung in translate.fallback(towards, route)]
    assert methods == [READS, frozenset()]
