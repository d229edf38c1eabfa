"""HTTPS as unmodified clients send it: CONNECT, with TLS ended by the sidecar, or left alone."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Callable
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from tests.authority import Authority
from tests.menu import reply, serve
from tests.real import need
from tests.wire.client import eventually
from tests.wire.daemon import Served, Sidecar

Run = Callable[..., Sidecar]


@pytest.fixture
def opener(run_sidecar: Run, tmp_path: Path) -> Sidecar:
    """A daemon that opens HTTPS; what its clients trust is `ca_dir / "bundle.crt"`."""
    return run_sidecar("--ca-dir", str(tmp_path / "ca"))


def bundle(tmp_path: Path) -> Path:
    return tmp_path / "ca" / "bundle.crt"


class Tunnelled(HTTPSConnection):
    """A connection through the sidecar as a proxy, which is closed however it failed."""

    def __init__(self, sidecar: Sidecar, host: str, trusted: Path, port: int = 443, **fields: str) -> None:
        self.context = ssl.create_default_context(cafile=str(trusted))
        super().__init__("127.0.0.1", sidecar.port, timeout=8, context=self.context)
        self.set_tunnel(host, port, {name.replace("_", "-"): value for name, value in fields.items()})

    def __del__(self) -> None:
        self.close()


def said(connection: HTTPSConnection, path: str = "/v1/x", **fields: str) -> tuple[int, str, bytes]:
    """Status, `Sidecar` field and body of one request."""
    connection.request("GET", path, headers=fields)
    response = connection.getresponse()
    return response.status, response.getheader("Sidecar", ""), response.read()


@pytest.fixture
def served(opener: Sidecar) -> Served:
    return opener.provider(serve(reply()), tls=True, hosts=["api.acme.test"])


def test_an_unmodified_client_gets_the_whole_pipeline(opener: Sidecar, served: Served, tmp_path: Path) -> None:
    connection = Tunnelled(opener, "api.acme.test", bundle(tmp_path))
    for _ in range(3):
        status, field, _ = said(connection)
        assert status == 200
        assert field.startswith(f"provider={served.name}, ")
    connection.close()
    assert [request.one(b"Host") for request in served.provider.requests] == [
        f"localhost:{served.provider.port}".encode()
    ] * 3
    _, document = opener.admin("GET", "/calls")
    assert {call["mode"] for call in document["calls"]} == {"connect"}


def test_the_certificate_is_for_the_name_and_signed_by_the_pods_own(
    opener: Sidecar, served: Served, tmp_path: Path
) -> None:
    connection = Tunnelled(opener, "api.acme.test", bundle(tmp_path))
    connection.connect()
    assert isinstance(connection.sock, ssl.SSLSocket)
    certificate: Any = connection.sock.getpeercert()
    assert certificate["subjectAltName"] == (("DNS", "api.acme.test"),)
    assert connection.sock.selected_alpn_protocol() in (None, "http/1.1")
    connection.close()


def test_a_client_that_does_not_trust_us_is_told_of_in_the_log(opener: Sidecar, served: Served, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        said(Tunnelled(opener, "api.acme.test", other.ca_file))
    line = eventually(
        lambda: [line for line in opener.log.splitlines() if "does not trust the sidecar's authority" in line],
        within_s=5,
    )[0]
    logged = json.loads(line)
    assert logged["host"] == "api.acme.test"
    assert "sidecar env" in logged["reason"]


def test_a_host_that_is_not_opened_is_tunnelled(opener: Sidecar, tmp_path: Path) -> None:
    leaf = opener.ca.issue("far.acme.test", "localhost")
    served = opener.provider(serve(reply()), tls=leaf.server_context(), hosts=["far.acme.test"], intercept="off")
    connection = Tunnelled(opener, "far.acme.test", opener.ca.ca_file)
    status, field, _ = said(connection)
    assert (status, field) == (200, ""), "no byte is ours to change"
    connection.close()
    (call,) = eventually(lambda: opener.admin("GET", "/calls")[1]["calls"], within_s=5)
    assert (call["provider"], call["mode"], call["method"], call["status"]) == (served.name, "connect", "CONNECT", 200)


def test_a_tunnel_that_cannot_be_dialled_is_a_502_that_says_why(opener: Sidecar, tmp_path: Path) -> None:
    served = opener.provider(serve(reply()), hosts=["far.acme.test"], intercept="off")
    opener.stop_provider(served.provider)
    response = opener.exchange(b"CONNECT far.acme.test:443 HTTP/1.1\r\nHost: far.acme.test:443\r\n\r\n")
    assert (response.status, response.problem["reason"]) == (502, "connect-failed")


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    [
        (b"unknown.test:443", 403, "egress-denied"),
        (b"127.0.0.1:80", 403, "egress-denied"),
        (b"metadata.google.internal:80", 403, "address-denied"),
        (b"api.acme.test", 400, "bad-request"),
        (b"api.acme.test:0", 400, "bad-request"),
        (b"/", 400, "bad-request"),
    ],
)
def test_what_goes_nowhere_is_refused_in_words(
    opener: Sidecar, served: Served, target: bytes, status: int, reason: str
) -> None:
    response = opener.exchange(b"CONNECT %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)
    assert (response.status, response.problem["reason"]) == (status, reason)


def test_a_request_for_another_host_is_misdirected(opener: Sidecar, served: Served, tmp_path: Path) -> None:
    status, _, body = said(Tunnelled(opener, "api.acme.test", bundle(tmp_path)), Host="other.test")
    assert (status, json.loads(body)["reason"]) == (421, "misdirected")


def test_plain_http_on_a_tunnel_is_served(opener: Sidecar, served: Served) -> None:
    with opener.connect() as raw:
        raw.send(b"CONNECT api.acme.test:80 HTTP/1.1\r\nHost: api.acme.test\r\n\r\n")
        assert raw.head().status == 200
        raw.send(b"GET /v1/x HTTP/1.1\r\nHost: api.acme.test\r\n\r\n")
        assert raw.response().status == 200


def test_a_password_is_asked_for_where_one_is_set(run_sidecar: Run, tmp_path: Path) -> None:
    sidecar = run_sidecar("--ca-dir", str(tmp_path / "ca"), environ={"SIDECAR_PROXY_AUTH": "user:secret"})
    sidecar.provider(serve(reply()), tls=True, hosts=["api.acme.test"])
    refused = sidecar.exchange(b"CONNECT api.acme.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (refused.status, refused.one(b"proxy-authenticate")) == (407, b'Basic realm="sidecar"')
    connection = Tunnelled(sidecar, "api.acme.test", bundle(tmp_path), Proxy_Authorization="Basic dXNlcjpzZWNyZXQ=")
    assert said(connection)[0] == 200
    assert "secret" not in sidecar.log


def test_hosts_that_a_reload_adds_are_opened_and_running_clients_go_on(
    opener: Sidecar, served: Served, tmp_path: Path
) -> None:
    before = tmp_path / "before.crt"
    before.write_bytes(bundle(tmp_path).read_bytes())
    running = Tunnelled(opener, "api.acme.test", before)
    assert said(running)[0] == 200
    opener.provider(serve(reply()), tls=True, hosts=["new.acme.test"])
    assert said(Tunnelled(opener, "new.acme.test", bundle(tmp_path)))[0] == 200
    assert said(running)[0] == 200
    assert said(Tunnelled(opener, "api.acme.test", before))[0] == 200, (
        "what it read before still holds for the old host"
    )


def test_a_restart_keeps_the_authority(run_sidecar: Run, tmp_path: Path) -> None:
    first = run_sidecar("--ca-dir", str(tmp_path / "ca"), "--state", str(tmp_path / "kept"))
    first.provider(serve(reply()), tls=True, hosts=["api.acme.test"])
    before = bundle(tmp_path).read_bytes()
    first.clear()
    first.stop()
    second = run_sidecar("--ca-dir", str(tmp_path / "ca"), "--state", str(tmp_path / "kept"))
    second.provider(serve(reply()), tls=True, hosts=["api.acme.test"])
    assert bundle(tmp_path).read_bytes() == before


def test_curl_through_the_proxy_variable(opener: Sidecar, served: Served, tmp_path: Path) -> None:
    curl = need("curl")
    done = subprocess.run(
        [curl, "-sS", "--fail", "https://api.acme.test/v1/x", "-o", "/dev/null", "-w", "%{http_code} %{http_version}"],
        env={"HTTPS_PROXY": f"http://127.0.0.1:{opener.port}", "SSL_CERT_FILE": str(bundle(tmp_path))},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (done.stdout, done.stderr) == ("200 1.1", "")


def test_the_key_is_nowhere_that_the_application_can_see(opener: Sidecar, served: Served, tmp_path: Path) -> None:
    said(Tunnelled(opener, "api.acme.test", bundle(tmp_path)))
    seen = [path.read_text() for path in (tmp_path / "ca").iterdir()] + [opener.log]
    seen += [json.dumps(opener.admin("GET", path)[1]) for path in ("/policies", "/calls", "/metrics", "/catalog")]
    assert all("PRIVATE KEY" not in text for text in seen)
    (key,) = Path(opener.policies.parent).rglob("ca.key")
    assert key.stat().st_mode & 0o777 == 0o600
