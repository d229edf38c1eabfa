"""TLS towards providers: who is trusted, what is presented, what is said of failures."""

from __future__ import annotations

import ssl
from pathlib import Path
from threading import Event

import pytest

from tests.authority import Authority
from tests.menu import echo, reply, serve, until_close
from tests.providers import Connection
from tests.wire.client import eventually
from tests.wire.daemon import Sidecar


def test_a_provider_signed_by_the_policys_bundle_is_reached(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()), tls=True)
    body = bytes(range(256)) * 4096
    assert served.call("POST", "/", body=body).body == body


def test_the_name_sent_is_the_upstreams(sidecar: Sidecar) -> None:
    names: list[str | None] = []
    context = sidecar.ca.localhost.server_context()
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    served = sidecar.provider(serve(reply(200)), tls=context)
    assert served.get().status == 200
    assert names == ["localhost"]


def test_no_protocol_but_http_11_is_offered(sidecar: Sidecar) -> None:
    context = sidecar.ca.localhost.server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    served = sidecar.provider(serve(reply(200)), tls=context)
    assert served.get().status == 200
    chosen = served.provider.connections[0].writer.get_extra_info("ssl_object").selected_alpn_protocol()
    assert chosen in {"http/1.1", None}


def test_an_upstream_by_address_is_verified_by_address(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)), tls=True)
    text = served.policy_file.read_text()
    served.policy_file.write_text(text.replace("https://localhost", "https://127.0.0.1"))
    sidecar.reload()
    assert served.get().status == 200


UNTRUSTED = {
    "wrong-name": lambda ca, _path: ca.issue("other.test"),
    "expired": lambda ca, _path: ca.issue("localhost", expired=True),
    "unknown-root": lambda _ca, path: Authority(path, "Stranger").issue("localhost"),
}


@pytest.mark.parametrize("case", UNTRUSTED)
def test_an_untrusted_certificate_is_refused(sidecar: Sidecar, tmp_path: Path, case: str) -> None:
    leaf = UNTRUSTED[case](sidecar.ca, tmp_path)
    served = sidecar.provider(serve(reply(200)), tls=leaf.server_context())
    response = served.call("POST", "/", b"Authorization: Bearer secret", body=b"secret")
    assert (response.status, response.problem["reason"]) == (502, "tls-failed")
    assert response.proxy_error == "tls_certificate_error"
    assert "certificate" in response.problem["detail"]
    assert served.requests == []


def test_the_systems_roots_do_not_trust_a_private_one(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)), tls=True)
    document = served.policy_file.read_text().splitlines()
    served.policy_file.write_text("\n".join(line for line in document if "tls:" not in line and "ca_file" not in line))
    sidecar.reload()
    assert served.get().problem["reason"] == "tls-failed"


def test_a_provider_that_speaks_no_tls_is_a_tls_failure(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)))
    text = served.policy_file.read_text()
    served.policy_file.write_text(text.replace("http://127", "https://127"))
    sidecar.reload()
    served.provider.script = _say_http
    response = served.get()
    assert (response.status, response.problem["reason"]) == (502, "tls-failed")


async def _say_http(connection: Connection) -> None:
    await connection.reader.read(1)
    await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_the_oldest_tls_is_the_policys(sidecar: Sidecar) -> None:
    context = sidecar.ca.localhost.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    ca_file = str(sidecar.ca.ca_file)
    served = sidecar.provider(serve(reply(200)), tls=context)
    assert served.get().status == 200
    text = served.policy_file.read_text()
    served.policy_file.write_text(text.replace(f"ca_file: {ca_file}", f"ca_file: {ca_file}\n  min: '1.3'"))
    sidecar.reload()
    response = served.get()
    assert (response.status, response.sidecar["outcome"]) == (502, "unreachable")
    # A server may end the handshake without a word.
    assert response.problem["reason"] in {"tls-failed", "connection-lost"}


def test_a_client_certificate_is_presented(sidecar: Sidecar) -> None:
    leaf = sidecar.ca.issue("client.test")
    context = sidecar.ca.localhost.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(sidecar.ca.ca_file)
    tls = {"ca_file": str(sidecar.ca.ca_file), "client_cert": str(leaf.cert_file), "client_key": str(leaf.key_file)}
    served = sidecar.provider(serve(reply(200)), tls=context)
    document = served.policy_file.read_text()
    assert served.call("POST", "/", body=b"x").status == 502, "the provider demands one"
    served.policy_file.write_text(
        document.replace("tls:\n", f"tls:\n  client_cert: {tls['client_cert']}\n  client_key: {tls['client_key']}\n")
    )
    sidecar.reload()
    assert served.get().status == 200
    peer = served.provider.connections[-1].writer.get_extra_info("peercert")
    assert ("DNS", "client.test") in peer["subjectAltName"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("line", [b"Connection: close", b"Keep-Alive: timeout=1"])
def test_sessions_are_resumed(sidecar: Sidecar, version: ssl.TLSVersion, line: bytes) -> None:
    """Whether the earlier connection was closed after its reply or while idle."""
    context = sidecar.ca.localhost.server_context()
    context.minimum_version = context.maximum_version = version
    resumed: list[bool] = []

    async def note_resumption(connection: Connection) -> None:
        resumed.append(connection.writer.get_extra_info("ssl_object").session_reused)
        await serve(reply(200, b"ok", line))(connection)

    served = sidecar.provider(note_resumption, tls=context)
    for _ in range(3):
        assert served.get().body == b"ok"
        assert eventually(served.provider.connections[-1].ended.is_set)
    assert resumed[0] is False
    assert resumed[-1] is True


def test_a_slow_handshake_within_its_time_is_waited_for(sidecar: Sidecar) -> None:
    context = sidecar.ca.localhost.server_context()
    context.sni_callback = lambda *_: bool(Event().wait(0.3)) or None
    served = sidecar.provider(serve(reply(200, b"ok")), tls=context)
    assert served.get().body == b"ok"


def test_until_close_over_tls_with_a_close_notify_is_whole(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(until_close(b"all of it")), tls=True)
    response = served.get()
    assert (response.body, response.complete) == (b"all of it", True)


def test_both_addresses_of_a_name_are_tried(sidecar: Sidecar) -> None:
    """`localhost` may be ::1 first, where nobody listens."""
    served = sidecar.provider(serve(reply(200)), tls=True)
    assert "https://localhost" in served.policy_file.read_text()
    assert served.get().status == 200
