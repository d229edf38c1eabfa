"""The admin listener over a real socket, in front of a state made for the purpose."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from sidecar.admin.app import EVERYWHERE, LARGEST_BODY_BYTES, make_app
from sidecar.admin.guard import Guard
from sidecar.admin.port import Check, Row, Selection, Trouble
from sidecar.admin.routes import ROUTES, Route
from sidecar.errors import ClientError, Reason

DOCS = Path(__file__).parent.parent.parent / "docs" / "admin.md"
Client = TestClient[Any, Any]
KEY = "3f2a9c1b"
READABLE = [route for route in ROUTES if route.method == "GET"]


class Daemon:
    """A `State` that says what the test wants."""

    def __init__(self) -> None:
        self.started = True
        self.ready: list[Check] = [Check("policies", True), Check("listener", True)]
        self.reloads = [True]
        self.forced: list[tuple[str, str, str, float | None]] = []
        self.broken = False
        self.asked: list[tuple[Selection, int]] = []
        self.purged: list[tuple[Selection, bool]] = []

    def checks(self) -> Sequence[Check]:
        return self.ready

    def troubles(self) -> Sequence[Trouble]:
        return [Trouble("breakers.json", "no space left on device")]

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        return f"# accept: {accept}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"

    def policies(self) -> Row:
        names = next(route for route in ROUTES if route.path == "/policies").fields
        return dict.fromkeys(names)

    async def reload(self) -> bool:
        return self.reloads.pop()

    def breakers(self) -> Sequence[Row]:
        if self.broken:
            raise RuntimeError("no breaker today")
        return [{"provider": name, "scope": "all", "state": "closed"} for name in ("stripe", "sendgrid")]

    def force_breaker(self, provider: str, scope: str, state: str, for_s: float | None) -> Row | None:
        self.forced.append((provider, scope, state, for_s))
        return {"provider": provider, "scope": scope, "state": state} if provider == "stripe" else None

    def limits(self) -> Sequence[Row]:
        return [{"provider": "stripe"}]

    def unknown(self) -> Sequence[Row]:
        return [{"host": "example.com"}]

    def authority(self) -> Row:
        return {"kind": "own", "directory": "/run/sidecar/ca", "expires_in_s": 86400.0, "certificates": []}

    def calls(self) -> Sequence[Row]:
        return [{"provider": "stripe", "id": n} for n in range(5)] + [{"provider": "sendgrid", "id": 5}]

    async def cache(self, which: Selection, limit: int) -> Row:
        self.asked.append((which, limit))
        return {"stores": [], "providers": [], "entries": []}

    async def cached(self, key: str) -> Sequence[Row]:
        return [] if key == "0" * 32 else [{"key": key}]

    async def purge(self, which: Selection, soft: bool) -> int | None:
        if which.url == "gopher://x":
            raise ClientError(Reason.BAD_REQUEST, "the request target is neither a path nor an http(s) URL")
        self.purged.append((which, soft))
        return None if which.provider == "nobody" else 3

    def catalog(self) -> Sequence[Row]:
        return [{"provider": "stripe"}, {"provider": "sendgrid"}]


def example(path: str) -> str:
    """A path with something for its variables."""
    return path.replace("{key}", KEY)


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
async def client(aiohttp_client: Callable[..., Awaitable[Client]], daemon: Daemon) -> Client:
    return await aiohttp_client(make_app(daemon, Guard(loopback=True, token=None)))


async def get_json(client: Client, path: str, status: int = 200) -> Any:
    async with client.get(path) as response:
        assert response.status == status
        return await response.json(content_type=None)


async def problem(client: Client, method: str, path: str, **request: Any) -> dict[str, Any]:
    async with client.request(method, path, **request) as response:
        assert response.content_type == "application/problem+json"
        document: dict[str, Any] = await response.json(content_type=None)
        assert document["status"] == response.status
        assert document["detail"].endswith(".")
        return document


@pytest.mark.parametrize("route", READABLE, ids=lambda route: route.path)
async def test_every_path_answers_get_head_and_options(client: Client, route: Route) -> None:
    path = example(route.path)
    async with client.get(path) as response:
        assert response.status == 200
        assert response.content_type == route.content_type
        assert EVERYWHERE.items() <= dict(response.headers).items()
        length = response.headers["Content-Length"]
    async with client.head(path) as response:
        assert (response.status, response.headers["Content-Length"], await response.read()) == (200, length, b"")
    async with client.options(path) as response:
        assert response.status == 204
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("route", [route for route in READABLE if route.twin], ids=lambda route: route.path)
async def test_a_json_twin_says_the_same(client: Client, route: Route) -> None:
    assert await get_json(client, example(route.twin)) == await get_json(client, example(route.path))


@pytest.mark.parametrize("route", [route for route in READABLE if route.fields], ids=lambda route: route.path)
async def test_an_answer_holds_the_fields_that_are_documented(client: Client, route: Route) -> None:
    path = f"{route.path}?verbose" if route.path in ("/readyz", "/startupz") else example(route.path)

    assert (await get_json(client, path)).keys() == route.fields.keys()


async def test_probes_tell_starting_ready_and_why_not(client: Client, daemon: Daemon) -> None:
    daemon.started = False
    daemon.ready = [Check("policies", True), Check("drain", False, "stopping since SIGTERM")]

    assert await get_json(client, "/livez") == {"status": "ok"}
    assert await get_json(client, "/startupz", 503) == {"status": "starting"}
    assert await get_json(client, "/readyz", 503) == {"status": "not ready"}
    assert (await get_json(client, "/readyz?verbose", 503))["checks"] == [
        {"name": "policies", "ok": True, "detail": ""},
        {"name": "drain", "ok": False, "detail": "stopping since SIGTERM"},
    ]


async def test_metrics_take_the_form_that_the_scraper_prefers(client: Client) -> None:
    async with client.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as response:
        assert await response.text() == "# accept: application/openmetrics-text\n"
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_a_reload_that_fails_is_a_problem_with_the_errors(client: Client, daemon: Daemon) -> None:
    async with client.post("/policies/reload") as response:
        assert response.status == 200

    daemon.reloads = [False]
    found = await problem(client, "POST", "/policies/reload")
    assert found["status"] == 422
    assert "errors" in found["policies"]


@pytest.mark.parametrize(
    ("body", "state", "for_s"),
    [
        ('{"state": "forced-open", "for": "10m"}', "forced-open", 600.0),
        ('{"state": "forced-closed"}', "forced-closed", None),
        ('{"state": "auto"}', "auto", None),
    ],
)
async def test_a_breaker_is_forced(client: Client, daemon: Daemon, body: str, state: str, for_s: float | None) -> None:
    async with client.post("/breakers/stripe/get-customer", data=body) as response:
        assert await response.json() == {"provider": "stripe", "scope": "get-customer", "state": state}

    assert daemon.forced == [("stripe", "get-customer", state, for_s)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "JSON"),
        ("[]", "object"),
        ('{"state": "open"}', "state: Input should be 'forced-open', 'forced-closed' or 'auto'"),
        ('{"state": "auto", "four": "10m"}', "four"),
        ('{"state": "forced-open", "for": 10}', "did you mean 10s?"),
        ('{"state": "forced-open", "for": "0s"}', "greater than 0"),
        ("\xff", "JSON"),
    ],
)
async def test_a_change_that_is_not_understood_is_refused(client: Client, daemon: Daemon, body: str, said: str) -> None:
    found = await problem(client, "POST", "/breakers/stripe/all", data=body.encode("latin-1"))

    assert found["status"] == 400
    assert said in found["detail"]
    assert daemon.forced == []


async def test_what_does_not_exist_is_a_problem(client: Client) -> None:
    assert (await problem(client, "POST", "/breakers/nobody/all", data='{"state": "auto"}'))["status"] == 404
    assert (await problem(client, "GET", "/nothing"))["status"] == 404
    assert (await problem(client, "DELETE", "/policies"))["detail"] == "This path takes GET, HEAD, OPTIONS."
    assert (await problem(client, "GET", "/policies/reload"))["status"] == 405


async def test_a_large_body_is_refused(client: Client) -> None:
    found = await problem(client, "POST", "/breakers/stripe/all", data=b" " * (LARGEST_BODY_BYTES + 1))

    assert found["status"] == 413


async def test_rows_are_narrowed_to_a_provider_and_a_number(client: Client) -> None:
    assert len((await get_json(client, "/breakers?provider=stripe"))["breakers"]) == 1
    assert (await get_json(client, "/limits?provider=sendgrid"))["limits"] == []
    assert [row["id"] for row in (await get_json(client, "/calls?provider=stripe&limit=2"))["calls"]] == [0, 1]
    assert (await problem(client, "GET", "/calls?limit=-1"))["status"] == 400


async def test_what_is_kept_is_narrowed_and_counted_off(client: Client, daemon: Daemon) -> None:
    await get_json(client, "/cache")
    await get_json(client, "/cache?provider=stripe&route=get-customer&tag=customer-1&limit=7")

    assert daemon.asked == [
        (Selection(), 100),
        (Selection(provider="stripe", route="get-customer", tag="customer-1"), 7),
    ]
    assert (await problem(client, "GET", "/cache?limit=many"))["status"] == 400


async def test_one_kept_reply(client: Client) -> None:
    assert await get_json(client, "/cache/3f2a9c1b-77aa01bc") == {"entries": [{"key": "3f2a9c1b-77aa01bc"}]}
    assert await get_json(client, "/cache/3f2a9c1b.json") == {"entries": [{"key": "3f2a9c1b"}]}
    assert (await problem(client, "GET", f"/cache/{'0' * 32}"))["status"] == 404


@pytest.mark.parametrize(
    ("body", "which", "soft"),
    [
        ({"provider": "stripe"}, Selection(provider="stripe"), False),
        ({"provider": "stripe", "route": "a", "soft": True}, Selection(provider="stripe", route="a"), True),
        ({"url": "https://api.stripe.com/v1/x?a=b"}, Selection(url="https://api.stripe.com/v1/x?a=b"), False),
        ({"tag": "customer-1"}, Selection(tag="customer-1"), False),
        ({"key": "3f2a9c1b"}, Selection(key="3f2a9c1b"), False),
        ({"all": True, "soft": False}, Selection(), False),
    ],
)
async def test_kept_replies_are_purged(
    client: Client, daemon: Daemon, body: dict[str, Any], which: Selection, soft: bool
) -> None:
    async with client.post("/cache/purge", json=body) as response:
        assert (response.status, await response.json()) == (200, {"purged": 3})

    assert daemon.purged == [(which, soft)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "expected one of provider, url, tag, key, or all: true"),
        ({"all": False}, "expected one of"),
        ({"soft": True}, "expected one of"),
        ({"provider": "stripe", "tag": "x"}, "expected one of"),
        ({"provider": "stripe", "all": True}, "expected one of"),
        ({"route": "a", "tag": "x"}, "provider of the route"),
        ({"tags": "x"}, "tags"),
        ({"all": "yes"}, "all"),
        ({"provider": 3}, "provider"),
        ({"url": "gopher://x"}, "url: the request target is neither"),
    ],
)
async def test_a_purge_that_is_not_understood_is_refused(
    client: Client, daemon: Daemon, body: dict[str, Any], said: str
) -> None:
    found = await problem(client, "POST", "/cache/purge", json=body)

    assert found["status"] == 400
    assert said in found["detail"]
    assert daemon.purged == []


async def test_a_purge_of_what_no_policy_names_is_a_problem(client: Client) -> None:
    assert (await problem(client, "POST", "/cache/purge", json={"provider": "nobody"}))["status"] == 404


async def test_a_purge_is_a_change(aiohttp_client: Callable[..., Awaitable[Client]], daemon: Daemon) -> None:
    client = await aiohttp_client(make_app(daemon, Guard(loopback=False, token="correct-horse")))

    assert (await problem(client, "POST", "/cache/purge", json={"all": True}))["status"] == 401
    assert daemon.purged == []


async def test_a_fault_of_ours_is_logged_and_told_without_its_inside(
    client: Client, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.broken = True
    with caplog.at_level(logging.ERROR):
        found = await problem(client, "GET", "/breakers")

    assert found["status"] == 500
    assert "no breaker today" not in found["detail"]
    assert "no breaker today" in caplog.text


async def test_the_guard_stands_before_everything(
    aiohttp_client: Callable[..., Awaitable[Client]], daemon: Daemon
) -> None:
    client = await aiohttp_client(make_app(daemon, Guard(loopback=False, token="correct-horse")))

    async with client.post("/breakers/stripe/all", data='{"state": "auto"}') as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="admin"'
    assert (await problem(client, "POST", "/nothing"))["status"] == 401
    headers = {"Authorization": "Bearer correct-horse"}
    async with client.post("/breakers/stripe/all", data='{"state": "auto"}', headers=headers) as response:
        assert response.status == 200
    assert len(daemon.forced) == 1


async def test_the_openapi_document_names_every_path_and_nothing_else(client: Client) -> None:
    document = await get_json(client, "/openapi.json")
    assert document["openapi"] == "3.1.0"

    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert client.app is not None
    twins = {route.twin for route in ROUTES}
    served = {
        (route.method, route.resource.canonical)
        for route in client.app.router.routes()
        if route.resource is not None and route.method != "HEAD" and route.resource.canonical not in twins
    }
    assert described == served


async def test_the_openapi_document_describes_parameters_bodies_and_refusals(client: Client) -> None:
    change = (await get_json(client, "/openapi.json"))["paths"]["/breakers/{provider}/{scope}"]["post"]

    assert [parameter["name"] for parameter in change["parameters"]] == ["provider", "scope"]
    schema = change["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"].keys() == {"state", "for"}
    assert change["responses"].keys() == {"200", "400", "401", "403", "404"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_path_and_field_is_documented(route: Route) -> None:
    text = DOCS.read_text()

    assert f"`{route.method} {route.path}`" in text
    for name in (*route.fields, *route.query):
        assert f"`{name}`" in text, name
