"""How a call gets in: by prefix, by Host, in absolute form (PRODUCT §4)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.authority import Authority
from tests.menu import name_target, reply, serve
from tests.providers import Stage
from tests.wire.client import Response, message
from tests.wire.daemon import Sidecar, free_port

# Reverse.

TARGETS = {
    "/v1/charges": b"/v1/charges",
    "": b"/",
    "/": b"/",
    "?a=b": b"/?a=b",
    "//double": b"//double",
    "/a//b/": b"/a//b/",
    "/a%2Fb": b"/a%2Fb",
    "/%2e%2e/x": b"/%2e%2e/x",
    "/../x": b"/../x",
    "/./x": b"/./x",
    "/q?a=1&a=2&b=%20+%zz&c=/?;d": b"/q?a=1&a=2&b=%20+%zz&c=/?;d",
    "/q?": b"/q?",
    "/q?u=http://x/y?z": b"/q?u=http://x/y?z",
    "/a;b=c,d:e@f!$'()*~": b"/a;b=c,d:e@f!$'()*~",
    "/%E2%82%AC": b"/%E2%82%AC",
    '/[x]|{y}^`"<>\\': b'/[x]|{y}^`"<>\\',
}


@pytest.mark.parametrize("rest", TARGETS)
def test_the_rest_of_the_target_is_kept_byte_for_byte(sidecar: Sidecar, rest: str) -> None:
    served = sidecar.provider(serve(name_target))
    response = sidecar.exchange(message("GET", f"/{served.name}{rest}", host=sidecar.authority))
    assert response.body == TARGETS[rest]
    assert served.requests[0].target == TARGETS[rest]


@pytest.mark.parametrize("host", ["{listener}", "localhost", "127.0.0.1", "[::1]:7600", "localhost:1", "sub.localhost"])
def test_reverse_works_by_any_name_of_the_listener(sidecar: Sidecar, host: str) -> None:
    served = sidecar.provider(serve(name_target))
    host = host.replace("{listener}", sidecar.authority)
    assert sidecar.exchange(message("GET", f"/{served.name}/x", host=host)).body == b"/x"


@pytest.mark.parametrize("target", ["/nobody/x", "/", "/nobody", "//{name}/x", "/{NAME}/x", "/%70/x", "/?{name}"])
def test_an_unknown_prefix_is_404(sidecar: Sidecar, target: str) -> None:
    served = sidecar.provider(serve(name_target))
    target = target.replace("{name}", served.name).replace("{NAME}", served.name.upper())
    response = sidecar.exchange(message("GET", target, host=sidecar.authority))
    assert (response.status, response.problem["reason"]) == (404, "unknown-provider")
    assert served.requests == []


def test_options_asterisk_has_no_provider(sidecar: Sidecar) -> None:
    response = sidecar.exchange(message("OPTIONS", "*", host=sidecar.authority))
    assert response.status in {400, 404, 501}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "PURGE", "MKCOL"])
def test_other_methods_pass(sidecar: Sidecar, method: str) -> None:
    served = sidecar.provider(serve(name_target))
    assert served.call(method, "/x", body=b"").body == b"/x"
    assert served.requests[0].method == method.encode()


# By Host.


def test_the_host_of_a_policy_leads_to_its_provider(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(name_target), tls=True)
    response = sidecar.exchange(message("GET", "/v1/charges?a=b", host=served.host))
    assert (response.body, response.sidecar["provider"]) == (b"/v1/charges?a=b", served.name)
    assert served.requests[0].one(b"host") == f"localhost:{served.provider.port}".encode()


@pytest.mark.parametrize("form", ["{host}:80", "{HOST}", "{host}.", "{host}:443", "{host}:7600"])
def test_a_host_is_the_same_in_other_forms(sidecar: Sidecar, form: str) -> None:
    served = sidecar.provider(serve(name_target))
    host = form.replace("{host}", served.host).replace("{HOST}", served.host.upper())
    assert sidecar.exchange(message("GET", "/x", host=host)).body == b"/x"


def test_a_wildcard_host_stands_for_those_below_it(sidecar: Sidecar) -> None:
    sidecar.provider(serve(name_target), hosts=["*.wild.test"])
    assert sidecar.exchange(message("GET", "/x", host="a.b.wild.test")).body == b"/x"
    for host in ("wild.test", "evilwild.test", "wild.test.evil"):
        assert sidecar.exchange(message("GET", "/x", host=host)).status == 403


def test_a_policys_host_wins_over_a_prefix(sidecar: Sidecar) -> None:
    by_prefix, by_host = sidecar.provider(serve(reply(200, b"prefix"))), sidecar.provider(serve(name_target))
    response = sidecar.exchange(message("GET", f"/{by_prefix.name}/x", host=by_host.host))
    assert response.body == f"/{by_prefix.name}/x".encode()
    assert by_prefix.requests == []


# Absolute form (HTTP_PROXY).


@pytest.mark.parametrize("scheme", ["http", "https", "HTTP"])
def test_absolute_form_is_upgraded_to_tls(sidecar: Sidecar, scheme: str) -> None:
    served = sidecar.provider(serve(name_target), tls=True)
    response = sidecar.exchange(message("GET", f"{scheme}://{served.host}/v1/x?a=%20b", host=served.host))
    assert (response.status, response.body) == (200, b"/v1/x?a=%20b")
    assert served.requests[0].line == b"GET /v1/x?a=%20b HTTP/1.1"


@pytest.mark.parametrize(
    ("rest", "target"), [("", b"/"), ("?a=b", b"/?a=b"), ("/", b"/"), ("//x", b"//x"), (":80/x", b"/x")]
)
def test_absolute_form_in_its_short_forms(sidecar: Sidecar, rest: str, target: bytes) -> None:
    served = sidecar.provider(serve(name_target))
    assert sidecar.exchange(message("GET", f"http://{served.host}{rest}", host=served.host)).body == target


def test_the_target_wins_over_host(sidecar: Sidecar) -> None:
    """RFC 9112 3.2.2."""
    meant, other = sidecar.provider(serve(reply(200, b"meant"))), sidecar.provider(serve(reply(200, b"other")))
    assert sidecar.exchange(message("GET", f"http://{meant.host}/", host=other.host)).body == b"meant"
    assert other.requests == []


def test_absolute_form_for_the_listener_itself_is_reverse(sidecar: Sidecar) -> None:
    """Some clients send it whenever a proxy is configured, whatever the URL."""
    served = sidecar.provider(serve(name_target))
    response = sidecar.exchange(message("GET", f"http://{sidecar.authority}/{served.name}/x", host=sidecar.authority))
    assert response.status in {200, 403, 404}
    assert response.body == b"/x" if response.status == 200 else response.problem


def test_bytes_behind_connect_belong_to_the_tunnel(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(name_target))
    with sidecar.connect() as client:
        client.send(message("CONNECT", f"{served.host}:443", host=served.host), message("GET", "/inner", host="x"))
        assert client.head().status == 200
        inner = client.response()
        assert (inner.status, inner.body) == (200, b"/inner")
    (request,) = served.requests
    assert (request.target, request.all(b"Via")) == (b"/inner", []), "nothing of it is ours to read"


# Egress.


def test_an_unknown_host_is_denied_and_counted(sidecar: Sidecar) -> None:
    response = sidecar.exchange(message("GET", "/x", host="nobody-knows.example"))
    assert (response.status, response.problem["reason"]) == (403, "egress-denied")
    assert "nobody-knows.example" in response.problem["detail"]
    assert "nobody-knows.example" in str(sidecar.admin("GET", "/unknown")[1])


PRIVATE = [
    "127.0.0.1:{port}",
    "127.1.2.3:{port}",
    "[::1]:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "0.0.0.0:{port}",
    "localhost:{port}",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "[fd00::1]",
    "[fe80::1]",
    "224.0.0.1",
]
METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "[fd00:ec2::254]",
    "[::ffff:169.254.169.254]",
    "metadata.google.internal",
    "100.100.100.200",
]


@pytest.fixture(scope="module")
def _open_sidecar(tmp_path_factory: pytest.TempPathFactory, stage: Stage, authority: Authority) -> Iterator[Sidecar]:
    defaults = {"egress": {"unknown": "allow", "ports": [80, 443]}}
    sidecar = Sidecar(tmp_path_factory.mktemp("open"), stage, authority, defaults=defaults)
    yield sidecar
    sidecar.stop()


@pytest.fixture
def open_sidecar(_open_sidecar: Sidecar) -> Iterator[Sidecar]:
    """A daemon that lets calls to unknown hosts out."""
    yield _open_sidecar
    _open_sidecar.clear()


def _allow_port(sidecar: Sidecar, port: int) -> None:
    (sidecar.policies / "defaults.yaml").write_text(f"egress: {{unknown: allow, ports: [80, 443, {port}]}}\n")
    sidecar.reload()


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_refused_unless_a_policy_names_them(open_sidecar: Sidecar, host: str) -> None:
    served = open_sidecar.provider(serve(name_target))
    _allow_port(open_sidecar, served.provider.port)
    host = host.replace("{port}", str(served.provider.port))
    response = open_sidecar.exchange(message("GET", f"http://{host}/x", host=host))
    _assert_denied(response)
    assert served.provider.connections == []
    assert served.get("/x").body == b"/x", "a policy names this very address"


@pytest.mark.parametrize("host", METADATA)
def test_metadata_services_are_refused_always(open_sidecar: Sidecar, host: str) -> None:
    _assert_denied(open_sidecar.exchange(message("GET", "/latest/meta-data/", host=host)))
    if host.endswith("internal"):
        return  # No resolver knows it here; where one does, its address is among the others.
    served = open_sidecar.provider(serve(name_target), upstream=f"http://{host}", timeouts={"connect": "500ms"})
    _assert_denied(served.get("/latest/meta-data/"))


def test_a_name_that_resolves_to_loopback_gains_nothing(open_sidecar: Sidecar) -> None:
    """The address is judged, not the name; `localhost.` is what every resolver knows."""
    served = open_sidecar.provider(serve(name_target))
    _allow_port(open_sidecar, served.provider.port)
    host = f"localhost.:{served.provider.port}"
    assert open_sidecar.exchange(message("GET", f"http://{host}/x", host=host)).status in {403, 404}
    assert served.provider.connections == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
def test_other_spellings_of_loopback_gain_nothing(open_sidecar: Sidecar, host: str) -> None:
    port = free_port()
    _allow_port(open_sidecar, port)
    response = open_sidecar.exchange(message("GET", f"http://{host}:{port}/", host=f"{host}:{port}"))
    assert response.problem["reason"] in {
        "address-denied",
        "bad-request",
        "dns-failed",
        "egress-denied",
        "unknown-provider",
    }


def test_an_unknown_host_is_let_out_when_allowed(open_sidecar: Sidecar) -> None:
    """There is no public host to reach in a test; a name that no resolver has shows that it was tried."""
    response = open_sidecar.exchange(message("GET", "http://nobody.invalid/x", host="nobody.invalid"))
    assert (response.status, response.problem["reason"]) == (502, "dns-failed")
    assert "nobody.invalid" in str(open_sidecar.admin("GET", "/unknown")[1])


def test_only_listed_ports_are_let_out(open_sidecar: Sidecar) -> None:
    response = open_sidecar.exchange(message("GET", "http://nobody.invalid:25/", host="nobody.invalid:25"))
    assert (response.status, response.problem["reason"]) == (403, "egress-denied")


def _assert_denied(response: Response) -> None:
    assert response.status in {403, 404}, response
    assert response.problem["reason"] in {"address-denied", "unknown-provider"}
