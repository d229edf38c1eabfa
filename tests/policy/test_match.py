"""Matching, against a naive reference that tries every route in order."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.policy.match import HostIndex, RouteIndex, unreachable
from sidecar.policy.template import Hole, segments

Routes = list[tuple[tuple[str, ...], str]]

ROUTES: Routes = [
    (("GET",), "/v1/customers/{id}"),
    (("POST",), "/v1/charges"),
    ((), "/v1/files/{rest...}"),
    ((), "/v1/{kind}/search"),
]


def index(routes: Routes) -> RouteIndex[int]:
    return RouteIndex([(methods, path, order) for order, (methods, path) in enumerate(routes)], -1)


def covers(template: str, parts: list[bytes]) -> bool:
    wanted = list(segments(template))
    if wanted[-1] is Hole.REST:
        wanted.pop()
        if len(parts) < len(wanted):
            return False
        parts = parts[: len(wanted)]
    return len(wanted) == len(parts) and all(
        bool(part) if one is Hole.ONE else one == part for one, part in zip(wanted, parts, strict=True)
    )


def reference(routes: Routes, method: str, path: bytes) -> int:
    parts = [unquote_to_bytes(part) for part in path.split(b"/")[1:]]
    return next(
        (
            order
            for order, (methods, template) in enumerate(routes)
            if (not methods or method in methods) and covers(template, parts)
        ),
        -1,
    )


WORDS = st.sampled_from(["a", "b", "c", "%61"])
TEMPLATES = st.builds(
    lambda parts, rest: "/" + "/".join([f"{{x{n}}}" if part is None else part for n, part in enumerate(parts)] + rest),
    st.lists(st.one_of(st.none(), WORDS), max_size=4),
    st.sampled_from([[], ["{rest...}"], [""]]),
)
METHODS = st.lists(st.sampled_from(["GET", "POST", "PUT"]), max_size=2, unique=True).map(tuple)
PATHS = st.lists(st.sampled_from(["a", "b", "c", "d", "", "%61", "a%20b"]), min_size=1, max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)


@given(st.lists(st.tuples(METHODS, TEMPLATES), max_size=8), st.sampled_from(["GET", "POST", "PUT", "X"]), PATHS)
@example([((), "/{a}/b"), ((), "/a/{b}")], "GET", "/a/b")
@example([((), "/{rest...}"), ((), "/a")], "GET", "/a")
@example([((), "/a/{rest...}"), ((), "/a")], "GET", "/a")
def test_the_index_is_the_reference(routes: Routes, method: str, path: str) -> None:
    assert index(routes).find(method, path.encode()) == reference(routes, method, path.encode())


@given(st.lists(st.tuples(METHODS, TEMPLATES), max_size=6), st.sampled_from(["GET", "POST", "PUT", "X"]), PATHS)
def test_an_unreachable_route_never_wins(routes: Routes, method: str, path: str) -> None:
    assert index(routes).find(method, path.encode()) not in unreachable(routes)


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        ("GET", b"/v1/customers/cus_1?expand[]=x/../y%2F", 0),
        ("GET", b"/v1/c%75stomers/cus_1", 0),
        ("GET", b"/v1/customers/.hidden", 0),
        ("GET", b"/v1/customers/search", 0),
        ("PUT", b"/v1/customers/search", 3),
        ("GET", b"/v1/charges", -1),
        ("POST", b"/v1/charges/", -1),
        ("GET", b"/v1/customers/", -1),
        ("GET", b"/V1/customers/x", -1),
        ("GET", b"/v1/files", 2),
        ("GET", b"/v1/files/a//b", 2),
        ("OPTIONS", b"*", -1),
        ("GET", b"", -1),
    ],
)
def test_routes(method: str, target: bytes, route: int) -> None:
    assert index(ROUTES).find(method, target) == route


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/files/../charges",
        b"/v1/files/.",
        b"/v1/files/%2e%2E/x",
        b"/v1/files/.%2e/x",
        b"/v1/files/a%2Fb",
        b"/v1/files/a%5cb",
        b"/v1/files/a\\b",
        b"/v1/files/a%00",
        b"/v1/files/%",
        b"/v1/files/%zz",
    ],
)
def test_what_servers_read_differently_matches_no_route(path: bytes) -> None:
    assert index([((), "/{rest...}"), *ROUTES]).find("GET", path) == -1


def test_shadowed_routes_name_the_one_that_wins() -> None:
    routes: Routes = [
        ((), "/a/{b}/{rest...}"),
        ((), "/a/{rest...}"),
        (("GET",), "/a/x"),
        (("GET", "POST"), "/q"),
        (("GET",), "/q"),
        ((), "/q"),
        ((), "/%71"),
    ]
    assert unreachable(routes) == {2: 0, 4: 3, 6: 5}


def test_ten_thousand_routes_are_matched_right() -> None:
    routes: Routes = [(("GET",), f"/v1/things{n}/{{id}}/parts") for n in range(10_000)]
    found = index(routes)
    assert [found.find("GET", f"/v1/things{n}/x/parts".encode()) for n in range(10_000)] == list(range(10_000))
    assert found.find("GET", b"/v1/things10000/x/parts") == -1
    assert found.find("POST", b"/v1/things1/x/parts") == -1


HOSTS = HostIndex(
    [
        ("api.stripe.com", "stripe"),
        ("*.my.salesforce.com", "salesforce"),
        ("*.salesforce.com", "other"),
        ("login.my.salesforce.com", "login"),
        ("x.com", "any port"),
        ("x.com:81", "81"),
        ("[::1]", "six"),
    ]
)


@pytest.mark.parametrize(
    ("host", "value"),
    [
        (b"api.stripe.com", "stripe"),
        (b"API.stripe.COM:443", "stripe"),
        (b"api.stripe.com.", "stripe"),
        (b"api.stripe.com.:443", "stripe"),
        (b"a.api.stripe.com", None),
        (b"acme.my.salesforce.com", "salesforce"),
        (b"a.b.my.salesforce.com:8443", "salesforce"),
        (b"LOGIN.my.salesforce.com", "login"),
        (b"my.salesforce.com", "other"),
        (b"salesforce.com", None),
        (b".salesforce.com", None),
        (b"evilsalesforce.com", None),
        (b"x.com:81", "81"),
        (b"x.com:82", "any port"),
        (b"[::1]", "six"),
        (b"[::1]:8080", "six"),
        (b"", None),
        (b":", None),
    ],
)
def test_hosts(host: bytes, value: str | None) -> None:
    assert HOSTS.find(host) == value
