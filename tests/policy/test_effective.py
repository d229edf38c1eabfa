"""What holds for a call, and who said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.policy.effective import effective_settings, find_call
from sidecar.policy.sources import LoadedPolicies
from tests.policy.documents import load

URLS = [
    "https://api.acme.com/v1/x/7?a=b",
    "http://127.0.0.1:7600/acme/v1/x/7?a=b",
    "/acme/v1/x/7?a=b",
    "acme/v1/x/7?a=b",
]


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedPolicies:
    return load(
        tmp_path,
        defaults="retry: {attempts: 4}\nbreaker: {trials: 2}\n",
        acme="""
            provider: acme
            hosts: [api.acme.com]
            about: {updated: 2026-11-22}
            retry: {methods: all}
            limit: {rate: 5/s}
            classify:
              - {when: {status: 409}, as: transient}
              - {when: {status: 423}, as: throttled}
            routes:
              - name: get-x
                match: {method: GET, path: "/v1/x/{id}"}
                retry: {backoff: {cap: 5s}}
                limit: off
            """,
    )


@pytest.mark.parametrize("url", URLS)
def test_one_call_by_any_url(loaded: LoadedPolicies, url: str) -> None:
    found = find_call(loaded, "GET", url)
    assert found is not None
    assert found.route is not None
    assert (found.policy.provider, found.route.name, found.target) == ("acme", "get-x", "/v1/x/7?a=b")
    assert found.settings is found.route


@pytest.mark.parametrize("url", ["https://other.com/v1", "/nobody/v1", "/", ""])
def test_calls_without_a_policy(loaded: LoadedPolicies, url: str) -> None:
    assert find_call(loaded, "GET", url) is None


@pytest.mark.parametrize(("method", "url"), [("POST", "/acme/v1/x/7"), ("GET", "/acme"), ("GET", "/acme?x=1")])
def test_calls_without_a_route(loaded: LoadedPolicies, method: str, url: str) -> None:
    found = find_call(loaded, method, url)
    assert found is not None
    assert found.route is None
    assert found.settings is found.policy


def test_every_value_says_where_it_came_from(loaded: LoadedPolicies) -> None:
    found = find_call(loaded, "GET", "/acme/v1/x/7")
    assert found is not None
    shown = {
        setting.key: (setting.value, setting.place and f"{Path(setting.place.file).name}:{setting.place.line}")
        for setting in effective_settings(loaded, found)
    }
    assert shown["hosts"] == (["api.acme.com"], "acme.yaml:3")
    assert shown["retry.attempts"] == (4, "defaults.yaml:1")
    assert shown["retry.methods"] == ("all", "acme.yaml:5")
    assert shown["retry.backoff.cap"] == ("5s", "acme.yaml:13")
    assert shown["retry.backoff.base"] == ("200ms", None)
    assert shown["breaker.trials"] == (2, "defaults.yaml:2")
    assert shown["breaker.consecutive"] == (7, None)
    assert shown["limit"] == ("off", "acme.yaml:14")
    assert shown["timeouts.total"] == ("30s", None)
    assert shown["classify[1]"] == ({"when": {"status": 423}, "as": "throttled"}, "acme.yaml:9")
    assert "limit.rate" not in shown


def test_without_a_route_the_provider_decides(loaded: LoadedPolicies) -> None:
    found = find_call(loaded, "POST", "/acme/v1/x/7")
    assert found is not None
    shown = {setting.key: setting.value for setting in effective_settings(loaded, found)}
    assert shown["limit.rate"] == "5/s"
    assert shown["retry.backoff.cap"] == "10s"
