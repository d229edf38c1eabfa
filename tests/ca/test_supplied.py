"""An authority that the user brings: checked, chained, replaced while we run."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from sidecar.authority.authority import Authority
from sidecar.authority.ca import pem
from sidecar.errors import SettingsError
from tests.ca.pki import DAY_S, Made, Pod, handshake, key_pem, leaf_of, make_authority, verifies


def put(directory: Path, made: Made, *chain: Made, root: Made | None = None) -> None:
    """As a mounted Secret is: the files in a directory that a link is switched to."""
    version = directory / f"..{len(list(directory.iterdir())) if directory.exists() else 0}"
    version.mkdir(parents=True)
    (version / "tls.crt").write_bytes(pem([made.certificate, *(each.certificate for each in chain)]))
    (version / "tls.key").write_bytes(key_pem(made.key))
    if root is not None:
        (version / "ca.crt").write_bytes(pem([root.certificate]))
    fresh = directory / "..fresh"
    fresh.symlink_to(version.name)
    fresh.rename(directory / "..data")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")


def start(pod: Pod, *hosts: str) -> Authority:
    secret = pod.root / "secret"
    return pod.open(*hosts, cert_file=secret / "tls.crt", key_file=secret / "tls.key")


def presented(authority: Authority, pod: Pod, name: str = "api.stripe.com") -> x509.Certificate:
    """Verified by a client that trusts only what is published, with what the server sends."""
    context = authority.context_for(name)
    assert context is not None
    return leaf_of(context, name, pod.ca_file)


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)], ids=["ec", "rsa"]
)
def test_a_root_signs(pod: Pod, key: object) -> None:
    root = make_authority(key=key)
    put(pod.root / "secret", root)
    authority = start(pod)
    assert presented(authority, pod).issuer == root.certificate.subject
    assert pod.certificate() == root.certificate
    assert not pod.key_file.exists()
    assert authority.expires_in_s() == pytest.approx(10 * DAY_S, abs=120)


@pytest.mark.parametrize("beside", [True, False])
def test_an_intermediate_is_sent_and_its_root_is_published(pod: Pod, beside: bool) -> None:
    root = make_authority()
    middle = make_authority(root, name="Middle")
    issuing = make_authority(middle, name="Issuing")
    if beside:
        put(pod.root / "secret", issuing, middle, root=root)
    else:
        put(pod.root / "secret", issuing, middle, root)
    authority = start(pod)
    assert presented(authority, pod).issuer == issuing.certificate.subject
    assert pod.certificate() == root.certificate
    assert [row["subject"] for row in authority.certificates()] == ["CN=Issuing", "CN=Middle", "CN=Corporate"]


def test_an_intermediate_without_its_root_is_used_with_a_warning(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    root = make_authority()
    issuing = make_authority(root, name="Issuing")
    put(pod.root / "secret", issuing)
    context = start(pod).context_for("api.stripe.com")
    assert context is not None
    assert "the authority's root is not in its file: applications must have it already" in caplog.text
    corporate = pod.root / "corporate.crt"
    corporate.write_bytes(pem([root.certificate]))
    client = ssl.create_default_context(cafile=str(corporate))
    assert handshake(client, context, "api.stripe.com").version() == "TLSv1.3"
    assert pod.certificate() == issuing.certificate


def test_its_own_constraints_are_honoured_those_above_it_too(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    root = make_authority(permitted=["stripe.com", "github.com"])
    issuing = make_authority(root, name="Issuing", excluded=["secret.stripe.com"])
    put(pod.root / "secret", issuing, root)
    hosts = ("*.stripe.com", "api.github.com", "slack.com")
    authority = start(pod, *hosts)
    assert [
        authority.context_for(name) is not None
        for name in ("api.stripe.com", "a.secret.stripe.com", "api.github.com", "slack.com")
    ] == [True, False, True, False]
    assert verifies(presented(authority, pod, "api.github.com"), pod.ca_file, "api.github.com") is False  # no chain
    assert "does not permit some hosts of the policies" in caplog.text
    assert "no name constraints" not in caplog.text


def test_one_without_constraints_is_warned_of(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    put(pod.root / "secret", make_authority())
    start(pod)
    assert "has no name constraints" in caplog.text


BAD: dict[str, tuple[dict[str, object], str]] = {
    "expired": ({"ends_days": 0, "begins_days": -2}, "it expired on"),
    "future": ({"begins_days": 2}, "it is not valid before"),
    "leaf": ({"ca": False, "signs": False}, "not an authority's"),
    "usage": ({"signs": False}, "may not sign others"),
    "purpose": ({"purposes": [ExtendedKeyUsageOID.CODE_SIGNING]}, "may not be used for servers"),
    "rsa": ({"key": rsa.generate_private_key(65537, 1024)}, "has 1024 bits"),
}


@pytest.mark.parametrize(("made", "said"), BAD.values(), ids=BAD)
def test_one_that_nobody_would_believe_is_refused(pod: Pod, made: dict[str, object], said: str) -> None:
    put(pod.root / "secret", make_authority(**made))  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=said) as caught:
        start(pod)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"-----BEGIN PRIVATE KEY-----\nhunter2hunter2hu\n-----END PRIVATE KEY-----\n", "it holds none"),
        (key_pem(ec.generate_private_key(ec.SECP256R1()), b"pw"), "it is encrypted"),
        (key_pem(ed25519.Ed25519PrivateKey.generate()), "it is of another kind"),
        (key_pem(ec.generate_private_key(ec.SECP256R1())), "is not that of the key in --ca-key"),
        (None, "no such file"),
    ],
)
def test_a_key_of_no_use_is_refused(pod: Pod, content: bytes | None, said: str) -> None:
    put(pod.root / "secret", make_authority())
    key = pod.root / "secret" / "tls.key"
    key.unlink()
    if content is not None:
        key.write_bytes(content)
    with pytest.raises(SettingsError, match=said) as caught:
        start(pod)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("content", "said"), [(b"", "it holds none"), (None, "no such file")])
def test_a_certificate_of_no_use_is_refused(pod: Pod, content: bytes | None, said: str) -> None:
    put(pod.root / "secret", make_authority())
    certificate = pod.root / "secret" / "tls.crt"
    certificate.unlink()
    if content is not None:
        certificate.write_bytes(content)
    with pytest.raises(SettingsError, match=f"--ca-cert / SIDECAR_CA_CERT: .*{said}"):
        start(pod)


def test_half_a_pair_is_refused(pod: Pod) -> None:
    with pytest.raises(SettingsError, match="expected both or neither"):
        pod.open(cert_file=pod.root / "tls.crt")


def test_a_replaced_one_is_taken_up(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    first = make_authority()
    put(pod.root / "secret", first)
    authority = start(pod)
    context = authority.context_for("api.stripe.com")
    authority.tick()
    assert authority.context_for("api.stripe.com") is context
    renewed = make_authority(key=first.key, ends_days=20)
    put(pod.root / "secret", renewed)
    authority.tick()
    assert presented(authority, pod).issuer == renewed.certificate.subject
    assert pod.certificate() == renewed.certificate
    assert "by one with another key" not in caplog.text
    put(pod.root / "secret", make_authority(name="Other"))
    authority.tick()
    assert presented(authority, pod).issuer.rfc4514_string() == "CN=Other"
    assert "by one with another key" in caplog.text


def test_a_bad_one_never_replaces_a_good_one_and_is_said_once(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    good = make_authority()
    put(pod.root / "secret", good)
    authority = start(pod)
    put(pod.root / "secret", make_authority(ends_days=0, begins_days=-2))
    for _ in range(3):
        authority.tick()
    assert caplog.text.count("could not be brought up to date") == 1
    assert presented(authority, pod).issuer == good.certificate.subject
    put(pod.root / "secret", make_authority(name="Next"))
    authority.tick()
    assert presented(authority, pod).issuer.rfc4514_string() == "CN=Next"


def test_once_it_has_expired_nothing_is_signed(pod: Pod) -> None:
    put(pod.root / "secret", make_authority())
    authority = start(pod)
    pod.clock.advance(11 * DAY_S)
    authority.tick()
    assert authority.context_for("api.stripe.com") is None
    assert authority.expires_in_s() < 0


def test_a_file_changed_in_place_is_seen(pod: Pod) -> None:
    put(pod.root / "secret", make_authority())
    authority = start(pod)
    other = make_authority(name="Other")
    (pod.root / "secret" / "tls.crt").write_bytes(pem([other.certificate]))
    (pod.root / "secret" / "tls.key").write_bytes(key_pem(other.key))
    os.utime(pod.root / "secret" / "tls.crt", ns=(1, 1))
    authority.tick()
    assert presented(authority, pod).issuer.rfc4514_string() == "CN=Other"
