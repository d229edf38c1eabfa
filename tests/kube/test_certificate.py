from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from sidecar.kube.certificate import ServingCertificate, UnusableCertificate
from tests.kube.pki import DAY, Authority, MountedSecret, client_context, serial_of


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def secret(tmp_path: Path, authority: Authority) -> MountedSecret:
    return MountedSecret(tmp_path / "tls", *authority.pair())


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A handshake without sockets: both ends of it."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        server.wrap_bio(up, down, server_side=True),
        client.wrap_bio(down, up, server_hostname="localhost"),
    )
    waiting = list(reversed(ends))
    for _ in range(10):
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    return ends


def shown(serving: ServingCertificate, authority: Authority) -> int:
    """The serial number that a client meets."""
    _, client = shake(serving.context, client_context(authority))
    der = client.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def test_the_mounted_pair_is_shown(secret: MountedSecret, authority: Authority) -> None:
    serving = ServingCertificate(secret.root)
    serial = serial_of((secret.root / "tls.crt").read_bytes())
    assert shown(serving, authority) == serial
    assert serving.pair.serial == f"{serial:x}"
    assert not serving.expired


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_swapped_pair_is_shown_to_the_next_handshake(
    secret: MountedSecret, authority: Authority, version: ssl.TLSVersion
) -> None:
    serving = ServingCertificate(secret.root)
    assert serving.refresh() is False
    certificate, key = authority.pair()
    secret.swap(certificate, key)
    assert serving.refresh() is True
    client = client_context(authority)
    client.maximum_version = version
    server, _ = shake(serving.context, client)
    assert server.version() == version.name.replace("_", ".")
    assert shown(serving, authority) == serial_of(certificate)
    assert serving.refresh() is False


def test_older_tls_is_refused(secret: MountedSecret) -> None:
    assert ServingCertificate(secret.root).context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("certificate", "key", "expected"),
    [
        (b"", None, "tls.crt: expected a certificate in PEM"),
        (b"nonsense", None, "tls.crt: expected a certificate in PEM"),
        (None, b"", "tls.key: expected a private key in PEM, without a passphrase"),
        (None, b"other", "tls.key: this is not the key of tls.crt"),
        (None, b"locked", "tls.key: expected a private key in PEM, without a passphrase"),
    ],
)
def test_a_broken_pair_keeps_the_old_one_and_is_said_once(
    secret: MountedSecret, authority: Authority, certificate: bytes | None, key: bytes | None, expected: str
) -> None:
    serving = ServingCertificate(secret.root)
    serial = shown(serving, authority)
    good = authority.pair()
    locked = authority.pair(password=b"secret")
    match key:
        case b"other":
            key = authority.pair()[1]
        case b"locked":
            certificate, key = locked
    secret.swap(good[0] if certificate is None else certificate, good[1] if key is None else key)
    with pytest.raises(UnusableCertificate) as caught:
        serving.refresh()
    assert expected in str(caught.value)
    assert serving.refresh() is False
    assert shown(serving, authority) == serial
    secret.swap(*good)
    assert serving.refresh() is True
    assert shown(serving, authority) == serial_of(good[0])


def test_files_that_vanish_keep_the_old_pair(secret: MountedSecret, authority: Authority) -> None:
    serving = ServingCertificate(secret.root)
    (secret.root / "..data").unlink()
    with pytest.raises(UnusableCertificate, match=r"tls\.crt: cannot be read \(no such file or directory\)"):
        serving.refresh()
    assert shown(serving, authority)


def test_an_expired_pair_does_not_replace_one_that_is_not(secret: MountedSecret, authority: Authority) -> None:
    serving = ServingCertificate(secret.root)
    secret.swap(*authority.pair(lifetime=-DAY))
    with pytest.raises(UnusableCertificate, match="expired at"):
        serving.refresh()
    assert not serving.expired


def test_expiry_is_seen_when_it_comes(secret: MountedSecret) -> None:
    now = datetime.now(UTC)
    serving = ServingCertificate(secret.root, now=lambda: now)
    assert not serving.expired
    now += 3 * DAY
    assert serving.expired


def test_a_start_without_a_usable_pair_is_refused(tmp_path: Path, secret: MountedSecret, authority: Authority) -> None:
    with pytest.raises(UnusableCertificate, match="cannot be read"):
        ServingCertificate(tmp_path)
    with pytest.raises(UnusableCertificate, match="no-such: cannot be read"):
        ServingCertificate(secret.root, tmp_path / "no-such")
    (tmp_path / "ca.crt").write_text("nonsense")
    with pytest.raises(UnusableCertificate, match=r"ca\.crt: expected certificates in PEM"):
        ServingCertificate(secret.root, tmp_path / "ca.crt")


def test_clients_are_vouched_for_by_the_authority_of_the_day(
    tmp_path: Path, secret: MountedSecret, authority: Authority
) -> None:
    first, second = Authority("first"), Authority("second")
    (tmp_path / "ca.crt").write_bytes(first.pem)
    serving = ServingCertificate(secret.root, tmp_path / "ca.crt")

    def peer(signer: Authority) -> object:
        for name, pem in zip(("client.crt", "client.key"), signer.pair("apiserver"), strict=True):
            (tmp_path / name).write_bytes(pem)
        client = client_context(authority, (tmp_path / "client.crt", tmp_path / "client.key"))
        server, _ = shake(serving.context, client)
        return server.getpeercert()

    assert peer(first)
    with pytest.raises(ssl.SSLCertVerificationError):
        peer(second)
    (tmp_path / "ca.crt").write_bytes(second.pem + b"\n")
    assert serving.refresh() is True
    assert peer(second)
    with pytest.raises(ssl.SSLCertVerificationError):
        peer(first)
    server, _ = shake(serving.context, client_context(authority))
    assert server.getpeercert() in (None, {})
