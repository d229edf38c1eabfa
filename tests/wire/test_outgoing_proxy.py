"""The real daemon behind a real forward proxy: policies' hosts, unknown ones, credentials that change, loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.forward_proxy import ForwardProxy
from tests.menu import reply, serve
from tests.providers import Stage
from tests.wire.daemon import Sidecar, free_port

BASIC = b"Basic c2NvdHQ6dGlnZXI="
CHANGED = b"Basic c2NvdHQ6Y2hhbmdlZA=="
Run = Callable[..., Sidecar]


@contextmanager
def proxied(stage: Stage, **keys: Any) -> Iterator[ForwardProxy]:
    running = ForwardProxy(**keys).running()
    try:
        yield stage.run(running.__aenter__())
    finally:
        stage.run(running.__aexit__(None, None, None))


def way(proxy: ForwardProxy, secret: Path) -> dict[str, Any]:
    return {"egress": {"unknown": "allow"}, "upstream_proxy": {"url": proxy.url, "credentials": {"file": str(secret)}}}


def test_all_calls_leave_by_the_proxy_with_credentials_that_a_reload_renews(
    run_sidecar: Run, stage: Stage, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("scott:tiger\n")
    with proxied(stage, authorization=BASIC) as proxy:
        sidecar = run_sidecar(defaults=way(proxy, secret))
        secure = sidecar.provider(serve(reply(200, b"secure")), tls=True)
        plain = sidecar.provider(serve(reply(200, b"plain")))
        assert (secure.get().body, plain.get().body) == (b"secure", b"plain")
        places = [f"localhost:{secure.provider.port}", f"http://127.0.0.1:{plain.provider.port}/"]
        assert [line.split()[1].decode() for line in proxy.request_lines] == places

        unknown = sidecar.exchange(b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (unknown.status, unknown.problem["reason"]) == (403, "address-denied")

        secret.write_text("scott:changed\n")
        sidecar.reload()
        refused = plain.get()
        assert (refused.status, refused.problem["reason"], refused.sidecar["outcome"]) == (502, "proxy-denied", "local")
        assert refused.proxy_error == "http_request_denied"
        assert CHANGED in proxy.heads[-1]
        for shown in (sidecar.log, refused.body.decode(), str(sidecar.admin("GET", "/calls"))):
            assert not any(word in shown for word in ("tiger", "changed", BASIC.decode(), CHANGED.decode()))


def test_a_proxy_that_is_the_sidecar_itself_is_found_out(run_sidecar: Run) -> None:
    port = free_port()
    sidecar = run_sidecar("--listen", f"127.0.0.1:{port}", defaults={
        "egress": {"unknown": "allow"}, "upstream_proxy": f"http://127.0.0.1:{port}",
    })  # fmt: skip
    sidecar.port = port
    connect = sidecar.exchange(b"CONNECT shop.test:443 HTTP/1.1\r\nHost: shop.test:443\r\n\r\n")
    assert (connect.status, connect.problem["reason"]) == (502, "proxy-failed")
    absolute = sidecar.exchange(b"GET http://shop.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    assert absolute.status == 502
    assert b'"reason":"loop"' in absolute.body
