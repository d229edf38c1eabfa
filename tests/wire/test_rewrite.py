"""A client that follows what a provider says stays with the sidecar, whether the reply is fresh or kept."""

from __future__ import annotations

from tests.menu import reply, serve
from tests.wire.daemon import Sidecar

FIELDS = (
    b"Cache-Control: max-age=60",
    b"Location: https://shop.rewrite.test/next?a=1#b",
    b'Link: <https://shop.rewrite.test/2>; title="a, b"; rel=next, <https://cdn.test/x>; rel=preload',
    b"Content-Location: /one",
    b"X-Self: https://shop.rewrite.test/one",
)


def test_urls_lead_back_by_the_host_that_the_client_used(sidecar: Sidecar) -> None:
    served = sidecar.provider(
        serve(reply(200, b"ok", *FIELDS)),
        hosts=["shop.rewrite.test"],
        rewrite_urls={},
        cache={"store": "private"},
        routes=[{"name": "plain", "match": {"path": "/plain"}, "rewrite_urls": False}],
    )
    base = f"http://{sidecar.authority}/{served.name}".encode()
    for _ in range(2):
        response = served.get("/one")
        assert response.one(b"location") == base + b"/next?a=1#b"
        assert response.one(b"link") == b"<" + base + b'/2>; title="a, b"; rel=next, <https://cdn.test/x>; rel=preload'
        assert response.one(b"content-location") == f"/{served.name}/one".encode()
        assert response.one(b"x-self") == b"https://shop.rewrite.test/one"
    assert len(served.requests) == 1, "the second came from the cache"

    by_host = sidecar.exchange(b"GET /one HTTP/1.1\r\nHost: shop.rewrite.test\r\n\r\n")
    assert by_host.one(b"location") == b"https://shop.rewrite.test/next?a=1#b"
    assert served.get("/plain").one(b"location") == b"https://shop.rewrite.test/next?a=1#b"
