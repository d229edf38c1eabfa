"""What operators see and purge of the store, under policies that a daemon would load."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from sidecar.admin.port import Selection
from sidecar.errors import ClientError
from sidecar.http1.message import Headers, pack
from sidecar.policy.sources import LoadedPolicies, load_policies
from sidecar.rules.cache.entry import Entry, Key
from sidecar.rules.cache.key import Keys
from sidecar.serving import cached as module
from sidecar.serving.cached import CachedReplies, find_target
from sidecar.stores.shelf import Shelf
from sidecar.stores.tiers import Tiers
from tests.serving.test_directory import Town

SECRET = b"k" * 32
STRIPE = {
    "provider": "stripe",
    "hosts": ["api.stripe.com"],
    "cache": {"stale": "1h"},
    "routes": [{"name": "get-plan", "match": {"path": "/v1/plans/{id}"}, "cache": {"ttl": "60s"}}],
}
SHOP = {"provider": "shop", "hosts": ["shop.example", "*.shop.example"]}


class Kept:
    """A store in memory, and what operators have of it."""

    def __init__(self, home: Path) -> None:
        self.town = Town(home, STRIPE, SHOP)
        loaded = load_policies([home])
        self.loaded: LoadedPolicies | None = loaded
        self.clock = self.town.clock
        self.tiers = Tiers(Shelf(1024 * 1024, lambda _provider: False), [], self.clock, lambda _entry: 3e9)
        directory = self.town.directory
        self.replies = CachedReplies(self.tiers, SECRET, lambda: self.loaded, lambda: directory, self.clock)

    def put(
        self,
        target: str = "/v1/plans/a",
        *,
        provider: str = "stripe",
        route: str = "get-plan",
        origin: str = "https://api.stripe.com",
        token: str = "",
        tags: tuple[str, ...] = (),
    ) -> Key:
        headers = Headers([(b"Authorization", token.encode())] if token else [])
        key = Keys(SECRET, provider, origin).key(target.encode(), headers)
        now_s = self.clock.wall()
        fields = [(b"Cache-Control", b"max-age=10"), (b"Set-Cookie", b"a=b")]
        at = origin, target.encode()
        self.tiers.put(key, Entry(200, b"OK", pack(fields), b"{}", now_s, now_s, (), provider, route, *at, tags))
        return key

    async def left(self) -> list[Any]:
        """URLs, the most recent first."""
        listing = await self.replies.overview(Selection(), 100)
        return [entry["url"].partition("://")[2] for entry in listing["entries"]]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


async def test_an_overview(kept: Kept) -> None:
    kept.put("/v1/plans/a", tags=("plan-a",))
    kept.clock.advance(20)
    kept.put("/v1/plans/b", token="Bearer 1")
    kept.put("/things", provider="shop", route="-", origin="https://shop.example")
    found = await kept.replies.overview(Selection(provider="stripe"), 1)

    [memory] = found["stores"]
    assert (memory["tier"], memory["entries"], memory["limit_bytes"]) == ("memory", 3, 1024 * 1024)
    assert [(row["provider"], row["entries"]) for row in found["providers"]] == [("stripe", 2)]
    [entry] = found["entries"]
    assert (entry["url"], entry["ttl_s"], entry["stale_left_s"]) == ("https://api.stripe.com/v1/plans/b", 60.0, 3660.0)
    assert len(entry["partition"]) == 8
    assert len((await kept.replies.overview(Selection(), 100))["providers"]) == 2


async def test_all_of_many_are_looked_through(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    for number in range(10):
        kept.clock.advance(1)
        kept.put(f"/v1/plans/{number}", tags=("even" if number % 2 == 0 else "odd",))
    found = await kept.replies.overview(Selection(tag="even"), 3)

    assert [entry["url"][-1] for entry in found["entries"]] == ["8", "6", "4"]


async def test_lifetimes_are_those_of_the_policy_in_force(kept: Kept) -> None:
    kept.put("/v1/plans/a")
    kept.put("/other", route="-")
    kept.put("/things", provider="shop", route="-", origin="https://shop.example")
    kept.put("/gone", provider="gone", route="-", origin="https://gone.example")
    entries = (await kept.replies.overview(Selection(), 100))["entries"]

    assert {entry["provider"] + entry["url"][-1]: entry["ttl_s"] for entry in entries} == {
        "stripea": 60.0,
        "striper": 10.0,
        "shops": None,
        "gonee": None,
    }


async def test_nothing_is_in_force_yet(kept: Kept) -> None:
    kept.loaded = None
    kept.put()

    assert [entry["ttl_s"] for entry in (await kept.replies.overview(Selection(), 9))["entries"]] == [None]
    assert await kept.replies.purge(Selection(provider="shop"), soft=False) is None


async def test_one_entry_by_its_key_in_whole_or_in_short(kept: Kept) -> None:
    key = kept.put(token="Bearer 1").hex()
    kept.put()
    for text in (key, f"{key[:8]}-{key[32:40]}", key[:40]):
        [found] = await kept.replies.find(text)
        assert (found["key"], found["body_bytes"]) == (key, 2)
    assert len(await kept.replies.find(key[:8])) == 2
    for text in ("0" * 32, "x" * 32, key[:7]):
        assert await kept.replies.find(text) == []


@pytest.mark.parametrize(
    ("which", "left"),
    [
        (Selection(provider="stripe"), ["shop.example/things"]),
        (Selection(provider="stripe", route="-"), ["shop.example/things", "api.stripe.com/v1/plans/a?expand=…"]),
        (Selection(tag="plan"), ["shop.example/things", "api.stripe.com/other"]),
        (Selection(url="https://api.stripe.com/v1/plans/a?expand=x"), ["shop.example/things", "api.stripe.com/other"]),
        (
            Selection(url="http://127.0.0.1:7600/shop/things"),
            ["api.stripe.com/other", "api.stripe.com/v1/plans/a?expand=…"],
        ),
        (Selection(url="https://api.stripe.com/v1/*"), ["shop.example/things", "api.stripe.com/other"]),
        (Selection(), []),
    ],
)
async def test_a_purge_takes_what_it_names(kept: Kept, which: Selection, left: list[str]) -> None:
    kept.put("/v1/plans/a?expand=x", tags=("plan",))
    kept.clock.advance(1)
    kept.put("/other", route="-")
    kept.clock.advance(1)
    kept.put("/things", provider="shop", route="-", origin="https://shop.example")

    assert await kept.replies.purge(which, soft=False) == 3 - len(left)
    assert await kept.left() == left


async def test_a_url_is_purged_for_every_credential(kept: Kept) -> None:
    for token in ("", "Bearer 1", "Bearer 2"):
        kept.put(token=token)

    assert await kept.replies.purge(Selection(url="/stripe/v1/plans/%61#top"), soft=False) == 3


async def test_a_purge_by_key_in_short(kept: Kept) -> None:
    key = kept.put(token="Bearer 1").hex()
    kept.put()

    assert await kept.replies.purge(Selection(key=f"{key[:8]}-{key[32:40]}"), soft=False) == 1
    assert await kept.replies.purge(Selection(key=key), soft=False) == 0
    assert await kept.replies.purge(Selection(key=key[:32]), soft=False) == 1


async def test_a_soft_purge_leaves_stale_replies(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    kept.put()
    with caplog.at_level(logging.WARNING, "sidecar"):
        assert await kept.replies.purge(Selection(provider="stripe", route="get-plan"), soft=True) == 1
    [entry] = (await kept.replies.overview(Selection(), 100))["entries"]

    assert (entry["ttl_s"], entry["stale_left_s"]) == (0.0, 3600.0)
    [record] = caplog.records
    assert (record.message, record.__dict__["count"]) == ("kept replies were taken for stale", 1)


@pytest.mark.parametrize(
    "which",
    [
        Selection(provider="nobody"),
        Selection(provider="stripe", route="nothing"),
        Selection(url="https://nobody.example/"),
        Selection(url="/nobody/x"),
    ],
)
async def test_what_no_policy_names_is_not_purged_in_silence(kept: Kept, which: Selection) -> None:
    kept.put()

    assert await kept.replies.purge(which, soft=False) is None
    assert len(await kept.left()) == 1


@pytest.mark.parametrize("which", [Selection(provider="stripe", route="-"), Selection(tag="x"), Selection()])
async def test_what_is_named_may_be_empty(kept: Kept, which: Selection) -> None:
    assert await kept.replies.purge(which, soft=False) == 0


async def test_what_a_policy_no_longer_names_can_be_purged(kept: Kept) -> None:
    kept.put("/gone", provider="gone", route="-", origin="https://gone.example")

    assert await kept.replies.purge(Selection(provider="gone"), soft=False) == 1


@pytest.mark.parametrize(
    "url", ["v1/plans", "gopher://x", "https://", "/stripe/café", "https://api.stripe.com/v1?a=b*"]
)
async def test_a_url_that_is_none_is_refused(kept: Kept, url: str) -> None:
    with pytest.raises(ClientError):
        await kept.replies.purge(Selection(url=url), soft=False)


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("https://api.stripe.com/v1/x?a=b", "https://api.stripe.com", b"/v1/x?a=b"),
        ("http://API.stripe.com", "https://api.stripe.com", b"/"),
        ("https://eu.shop.example/x", "https://eu.shop.example", b"/x"),
        ("/stripe/v1/x", "https://api.stripe.com", b"/v1/x"),
        ("http://localhost:7600/stripe/v1/x", "https://api.stripe.com", b"/v1/x"),
    ],
)
def test_a_url_leads_where_a_call_would(kept: Kept, url: str, origin: str, target: bytes) -> None:
    found = find_target(kept.town.directory, url)

    assert found is not None
    assert (found[0].origin, found[1]) == (origin, target)
