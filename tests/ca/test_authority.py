"""The authority as a whole: nothing outside its constraint, by us or by a thief; its key nowhere but in its file."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.authority.names import Hosts
from tests.ca.pki import (
    Pod,
    handshake,
    leaf_of,
    openssl_verifies,
    server_context,
    verifies,
)
from tests.real import need

LABELS = st.sampled_from(["a", "b", "api", "com", "example", "x-1", "stripe"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
HOSTS = st.lists(st.tuples(st.booleans(), NAMES).map(lambda row: f"*.{row[1]}" if row[0] else row[1]), max_size=5)
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MORE = settings(max_examples=60, deadline=None)


@MORE
@given(HOSTS, st.lists(NAMES, max_size=5))
def test_no_leaf_is_made_for_a_name_that_no_host_is(hosts: list[str], names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        authority = Pod(Path(directory)).open(*hosts or [" "])
        for name in names:
            assert (authority.context_for(name) is not None) == Hosts.of(hosts).has(name)
        for host in (*(host for host in hosts if host.startswith("*")), "127.0.0.1", "[::1]", "", "a..b"):
            assert authority.context_for(host) is None


@FEW
@given(HOSTS, NAMES)
def test_openssl_accepts_what_is_inside_and_refuses_what_a_thief_makes_outside(hosts: list[str], name: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        pod = Pod(Path(directory))
        authority = pod.open(*hosts or [" "])
        inside = any(name == base or name.endswith(f".{base}") for base in Hosts.of(hosts).bases)
        assert openssl_verifies(pod.forge(name), pod.ca_file, name) == inside
        context = authority.context_for(name)
        if context is not None:
            assert verifies(leaf_of(context, name), pod.ca_file, name)


@pytest.mark.parametrize("in_san", [True, False])
@pytest.mark.parametrize("name", ["evil.example", "stripe.com", "api.stripe.com.evil.example", "127.0.0.1"])
def test_python_refuses_a_forged_leaf(pod: Pod, name: str, in_san: bool) -> None:
    pod.open()
    forged = server_context(pod.forge(name, in_san=in_san))
    client = ssl.create_default_context(cafile=str(pod.ca_file))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, forged, name)


NODE = """
const [ca, port] = process.argv.slice(1);
const options = {port, host: "127.0.0.1", servername: "localhost", ca: require("fs").readFileSync(ca)};
require("tls").connect(options, function () { this.destroy(); }).on("error", () => process.exit(1));
"""
CLIENTS = {
    "curl": lambda ca, url: ["curl", "-sS", "-4", "--noproxy", "*", "--cacert", str(ca), url],
    "wget": lambda ca, url: ["wget", "-q", "-4", "-t1", "-O", "-", "--no-proxy", f"--ca-certificate={ca}", url],
    "node": lambda ca, url: ["node", "-e", NODE, str(ca), url.rpartition(":")[2].rstrip("/")],
}
"""OpenSSL, GnuTLS as Debian builds wget, and Node's own OpenSSL; they call `localhost`, which needs no resolver."""


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_real_client_accepts_ours_and_refuses_a_forged_one(tmp_path: Path, client: str) -> None:
    need(client)
    within, without = (Pod(tmp_path / name) for name in ("within", "without"))
    for pod in (within, without):
        pod.root.mkdir()
    ours = within.open("localhost").context_for("localhost")
    without.open()
    assert ours is not None
    assert await visit(client, within, ours) == 0
    assert await visit(client, within, server_context(within.forge("localhost"))) == 0
    assert await visit(client, without, server_context(without.forge("localhost"))) != 0


async def visit(client: str, pod: Pod, context: ssl.SSLContext) -> int:
    """The exit code of a client that trusts what `pod` publishes, and asks `context` for `localhost`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*CLIENTS[client](pod.ca_file, url), stdout=quiet, stderr=quiet)
        return await process.wait()


def test_certificates_are_shown_without_any_key(pod: Pod) -> None:
    authority = pod.open()
    (row,) = authority.certificates()
    assert row["subject"] == "CN=sidecar authority,O=sidecar"
    assert row["permitted"] == ["api.stripe.com", "salesforce.com"]
    assert row["published"] is True
    assert len(row["sha256"]) == 64
    assert row["not_after"].endswith("Z")
    assert int(row["serial"], 16) == pod.certificate().serial_number
    assert set(row) == {
        "subject", "issuer", "serial", "not_before", "not_after", "permitted", "excluded", "sha256", "published",
    }  # fmt: skip


def test_the_key_is_in_no_repr_log_or_error(
    pod: Pod, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("DEBUG")
    authority = pod.open()
    authority.context_for("api.stripe.com")
    secret = "".join(pod.key_file.read_text().splitlines()[1:-1])

    def fail(*_: object, **__: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", fail)
    with pytest.raises(ValueError, match="a fault") as caught:
        authority.context_for("na1.salesforce.com")
    parts = [authority, authority._source, authority._leaves, authority._leaves.issuer, authority.certificates()]
    said = "".join([*map(repr, parts), *map(str, parts), caplog.text, *traceback.format_exception(caught.value)])
    assert "PRIVATE" not in said
    assert not any(secret[at : at + 16] in said for at in range(0, len(secret) - 16, 16))


def test_how_long_it_lasts_is_known(pod: Pod) -> None:
    authority = pod.open()
    assert authority.expires_in_s() == pytest.approx(30 * 86400, abs=2)
    pod.clock.advance(86400)
    assert authority.expires_in_s() == pytest.approx(29 * 86400, abs=2)
