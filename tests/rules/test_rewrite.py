"""A provider's URLs become the listener's; whatever is not surely its own stays as it came."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.rewrite import rewrite_fields, rewrite_links, rewrite_url

BASE = b"http://127.0.0.1:7600/shop"
HERE = BASE.decode()


def owns(authority: bytes) -> bool:
    return authority in (b"api.shop.com", b"api.shop.com:8443")


@pytest.mark.parametrize(
    ("url", "rewritten"),
    [
        ("https://api.shop.com/v1/x?y=%2F#z", f"{HERE}/v1/x?y=%2F#z"),
        ("http://API.Shop.com/v1", f"{HERE}/v1"),
        ("HTTPS://api.shop.com:443/v1", f"{HERE}/v1"),
        ("http://api.shop.com:80/v1", f"{HERE}/v1"),
        ("https://api.shop.com:8443/v1", f"{HERE}/v1"),
        ("//api.shop.com/v1", f"{HERE}/v1"),
        ("https://api.shop.com", f"{HERE}/"),
        ("https://api.shop.com?page=2", f"{HERE}/?page=2"),
        ("https://api.shop.com#top", f"{HERE}/#top"),
        ("/v1/x?y#z", "/shop/v1/x?y#z"),
        ("/", "/shop/"),
        ("https://api.shop.com/a/../../../other/x", f"{HERE}/other/x"),
        ("https://api.shop.com/%2e%2E/other/", f"{HERE}/other/"),
        ("/./a/..", "/shop/"),
        ("/a/b/.", "/shop/a/b/"),
        ("/v1.2/a..b/...", "/shop/v1.2/a..b/..."),
    ],
)
def test_its_own_urls_become_ours(url: str, rewritten: str) -> None:
    assert rewrite_url(url.encode(), BASE, owns).decode() == rewritten


@pytest.mark.parametrize(
    "url",
    [
        "https://other.com/v1",
        "https://api.shop.com.evil.test/",
        "https://api.shop.com:9443/v1",
        "https://api.shop.com:80/v1",
        "https://user@api.shop.com/v1",
        "https://evil.test\\@api.shop.com/",
        "https:///v1",
        "https:/v1",
        "//",
        "///api.shop.com/x",
        "/\\api.shop.com/x",
        "ftp://api.shop.com/v1",
        "mailto:a@api.shop.com",
        "v1/x",
        "../x",
        "?page=2",
        "#top",
        "",
        "https://api.shop.com/a b",
        " https://api.shop.com/",
        "https://api.shop.com/\x01",
        "https://[::1]/x",
    ],
)
def test_anything_else_stays(url: str) -> None:
    assert rewrite_url(url.encode(), BASE, owns).decode() == url


SEGMENTS = st.lists(st.sampled_from(["a", "..", ".", "", "%2e", "%2E%2e", ".%2e", "b.c", "%2f"]), max_size=8)


@given(SEGMENTS, st.sampled_from(["https://api.shop.com", "//api.shop.com", ""]))
def test_no_path_leads_out_of_the_prefix(segments: list[str], front: str) -> None:
    url = f"{front}/{'/'.join(segments)}"
    rewritten = rewrite_url(url.encode(), BASE, owns).decode()
    if rewritten != url:
        read = urljoin("http://127.0.0.1:7600/shop/v1/here", rewritten.replace("%2e", ".").replace("%2E", "."))
        assert urlsplit(read).netloc == "127.0.0.1:7600"
        assert urlsplit(read).path.startswith("/shop/")


@given(st.one_of(st.binary(max_size=60), st.text('<>",;\\/:. a', max_size=40).map(str.encode)))
def test_any_bytes_are_read_or_passed(value: bytes) -> None:
    """Nothing raises, and where there is no path of the provider's own, nothing changes."""
    assert rewrite_url(value, BASE, nobody) in (value, b"/shop" + value) or b"/." in value
    if b"<" not in value:
        assert rewrite_links(value, BASE, owns) == value


def nobody(authority: bytes) -> bool:
    return False


@pytest.mark.parametrize(
    ("link", "rewritten"),
    [
        ('<https://api.shop.com/x?page=2>; rel="next"', f'<{HERE}/x?page=2>; rel="next"'),
        (
            '<https://api.shop.com/x?page=2>; rel="next", </x?page=9>;rel=last , <https://cdn.test/y>; rel=preload',
            f'<{HERE}/x?page=2>; rel="next", </shop/x?page=9>;rel=last , <https://cdn.test/y>; rel=preload',
        ),
        (
            '<https://api.shop.com/a,b>; title="<https://api.shop.com/t>, \\", x"; rel=next,<https://api.shop.com/c>',
            f'<{HERE}/a,b>; title="<https://api.shop.com/t>, \\", x"; rel=next,<{HERE}/c>',
        ),
        ('<https://api.shop.com/a>; anchor="https://api.shop.com/b"', f'<{HERE}/a>; anchor="https://api.shop.com/b"'),
        (", <https://api.shop.com/a>, ,", f", <{HERE}/a>, ,"),
        ("<https://api.shop.com/a>  ", f"<{HERE}/a>  "),
        ("<>; rel=self", "<>; rel=self"),
    ],
)
def test_every_target_of_a_link_field(link: str, rewritten: str) -> None:
    assert rewrite_links(link.encode(), BASE, owns).decode() == rewritten


@pytest.mark.parametrize(
    "link",
    [
        '<https://api.shop.com/a>; title="no end',
        "<https://api.shop.com/a",
        "https://api.shop.com/a; rel=next",
        "<https://api.shop.com/a>, junk",
        "<https://api.shop.com/a> <https://api.shop.com/b>",
        '<https://api.shop.com/a>; title="' + "\\" * 5,
        "",
    ],
)
def test_a_link_field_that_cannot_be_read_stays_whole(link: str) -> None:
    assert rewrite_links(link.encode(), BASE, owns).decode() == link


def test_a_hostile_link_field_takes_no_time_worth_mentioning() -> None:
    for hostile in (b"<a>" + b" " * 60_000 + b"<", b'<a>;x="' + b"\\" * 60_000, b"," * 60_000 + b"x", b"<" * 60_000):
        assert rewrite_links(hostile, BASE, owns) == hostile


def test_fields_keep_their_order_and_the_others_their_values() -> None:
    url = b"https://api.shop.com/x"
    fields = [(b"Location", url), (b"X-Url", url), (b"LINK", b"<%b>" % url), (b"location", url)]
    assert rewrite_fields(fields, frozenset((b"location", b"link")), BASE, owns) == [
        BASE + b"/x", url, b"<%b/x>" % BASE, BASE + b"/x",
    ]  # fmt: skip
