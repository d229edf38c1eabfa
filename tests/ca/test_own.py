"""Our own authority over its life: made, kept, renewed, widened, and replaced when it is of no use."""

from __future__ import annotations

import logging

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from sidecar.authority.ca import constraint_of, pem
from sidecar.errors import SettingsError
from tests.ca.pki import DAY_S, HOSTS, Pod, key_pem, leaf_of, make_authority, openssl_verifies, verifies


def permitted(certificate: x509.Certificate) -> set[str]:
    return set(constraint_of(certificate).permitted or ())


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_certificate_may_do_no_more_than_it_must(pod: Pod) -> None:
    pod.open()
    certificate = pod.certificate()
    extensions = certificate.extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    assert not usage.value.crl_sign
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
    constraints = extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert [base.value for base in constraints.value.permitted_subtrees or ()] == ["api.stripe.com", "salesforce.com"]
    assert [str(network.value) for network in constraints.value.excluded_subtrees or ()] == ["0.0.0.0/0", "::/0"]
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() == 30 * DAY_S + 300


def test_without_hosts_it_permits_none(pod: Pod) -> None:
    authority = pod.open(" ")
    assert permitted(pod.certificate()) == {"invalid"}
    assert authority.context_for("api.stripe.com") is None
    assert not openssl_verifies(pod.forge("api.stripe.com"), pod.ca_file, "api.stripe.com")
    authority.adopt(HOSTS)
    assert permitted(pod.certificate()) == {"api.stripe.com", "salesforce.com"}


def test_it_survives_a_restart(pod: Pod) -> None:
    pod.open()
    before = pod.ca_file.read_bytes(), pod.key_file.read_bytes()
    pod.clock.advance(DAY_S)
    pod.open()
    assert (pod.ca_file.read_bytes(), pod.key_file.read_bytes()) == before


def test_it_is_renewed_at_two_thirds_with_the_same_key_and_only_the_present_hosts(pod: Pod) -> None:
    authority = pod.open()
    key, first = pod.key_file.read_bytes(), pod.certificate()
    authority.adopt(["api.stripe.com"])
    pod.clock.advance(19.9 * DAY_S)
    authority.tick()
    assert pod.certificate() == first
    pod.clock.advance(0.2 * DAY_S)
    authority.tick()
    renewed = pod.certificate()
    assert renewed.serial_number != first.serial_number
    assert renewed.subject == first.subject
    assert permitted(renewed) == {"api.stripe.com"}
    assert pod.key_file.read_bytes() == key
    assert authority.expires_in_s() == pytest.approx(30 * DAY_S, abs=2)
    # Whoever read the first one goes on.
    context = authority.context_for("api.stripe.com")
    assert context is not None
    assert pod.open().certificates()[1]["published"] is False


def test_a_restart_after_its_end_makes_another(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    pod.open()
    pod.clock.advance(31 * DAY_S)
    authority = pod.open()
    assert authority.expires_in_s() == pytest.approx(30 * DAY_S, abs=2)
    assert len(authority.certificates()) == 1
    assert warnings_of(caplog) == ["the certificate of the authority is of no use: a new one is made"]


def test_a_process_that_slept_past_its_end_makes_another(pod: Pod) -> None:
    authority = pod.open()
    assert authority.context_for("api.stripe.com") is not None
    pod.clock.advance(31 * DAY_S)
    assert authority.context_for("api.stripe.com") is None
    authority.tick()
    assert authority.context_for("api.stripe.com") is not None


def test_a_clock_that_was_wrong_at_the_start_is_got_over(pod: Pod) -> None:
    pod.clock.advance(400 * DAY_S)
    authority = pod.open()
    pod.clock.advance(-400 * DAY_S)
    authority.tick()
    context = authority.context_for("api.stripe.com")
    assert context is not None
    assert verifies(leaf_of(context, "api.stripe.com"), pod.ca_file, "api.stripe.com")


# A reload that adds hosts.


def test_added_hosts_widen_it_and_those_who_read_the_old_one_go_on(pod: Pod) -> None:
    authority = pod.open("api.stripe.com")
    old = pod.root / "running" / "ca.crt"
    old.parent.mkdir()
    old.write_bytes(pod.ca_file.read_bytes())
    authority.adopt(["api.stripe.com", "api.github.com"])
    for name, by_old in (("api.stripe.com", True), ("api.github.com", False)):
        context = authority.context_for(name)
        assert context is not None
        leaf = leaf_of(context, name)
        assert verifies(leaf, old, name) is by_old
        assert verifies(leaf, pod.ca_file, name)
        assert verifies(leaf, pod.ca_dir / "bundle.crt", name)
        assert authority.late(name) is not by_old
    # Only one of them may be published: see `bundle.py`.
    assert pod.ca_file.read_bytes().count(b"BEGIN CERTIFICATE") == 1
    assert [row["published"] for row in authority.certificates()] == [True, False]


def test_late_is_remembered_over_a_restart_and_forgotten_when_the_old_one_ends(pod: Pod) -> None:
    pod.open("api.stripe.com").adopt(["api.stripe.com", "api.github.com"])
    authority = pod.open("api.stripe.com", "api.github.com")
    assert (authority.late("api.github.com"), authority.late("api.stripe.com")) == (True, False)
    for _ in range(3):
        pod.clock.advance(15 * DAY_S)
        authority.tick()
    assert not authority.late("api.github.com")


def test_dropped_hosts_are_not_signed_though_the_certificate_permits_them_yet(pod: Pod) -> None:
    authority = pod.open("a.com", "b.com")
    assert authority.context_for("b.com") is not None
    authority.adopt(["a.com"])
    assert permitted(pod.certificate()) == {"a.com", "b.com"}
    assert authority.context_for("b.com") is None
    assert authority.context_for("a.com") is not None


def test_hosts_within_what_is_permitted_make_no_new_certificate(pod: Pod) -> None:
    authority = pod.open("*.salesforce.com")
    first = pod.certificate()
    authority.adopt(["na1.salesforce.com", "salesforce.com"])
    assert pod.certificate() == first


def test_an_added_host_is_signed_only_once_its_certificate_is_out(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    authority = pod.open("a.com")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("sidecar.authority.bundle.replace_if_other", full)
        authority.adopt(["a.com", "b.com"])
        authority.tick()
        assert authority.context_for("b.com") is None
        assert authority.context_for("a.com") is not None
    assert sum("could not be brought up to date" in line for line in warnings_of(caplog)) == 1
    authority.tick()
    assert authority.context_for("b.com") is not None


# What is found in the state directory.


SECRET = b"hunter2-hunter2"
KEYS = {
    "damaged": b"-----BEGIN PRIVATE KEY-----\n" + SECRET + b"\n-----END PRIVATE KEY-----\n",
    "empty": b"",
    "encrypted": key_pem(ec.generate_private_key(ec.SECP256R1()), b"secret"),
    "of another curve": key_pem(ec.generate_private_key(ec.SECP384R1())),
    "of another kind": key_pem(ed25519.Ed25519PrivateKey.generate()),
    "another's": key_pem(ec.generate_private_key(ec.SECP256R1())),
}
CERTIFICATES = {
    "damaged": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "empty": b"",
    "another's": pem([make_authority().certificate]),
}


@pytest.mark.parametrize("content", KEYS.values(), ids=KEYS)
def test_a_key_of_no_use_is_replaced(pod: Pod, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    pod.open()
    first = pod.certificate()
    pod.key_file.write_bytes(content)
    authority = pod.open()
    assert pod.certificate() != first
    context = authority.context_for("api.stripe.com")
    assert context is not None
    assert verifies(leaf_of(context, "api.stripe.com"), pod.ca_file, "api.stripe.com")
    assert any("is of no use" in line for line in warnings_of(caplog))
    assert SECRET.decode() not in caplog.text
    assert pod.key_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", CERTIFICATES.values(), ids=CERTIFICATES)
def test_a_certificate_of_no_use_is_replaced_and_the_key_stays(
    pod: Pod, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    pod.open()
    first, key = pod.ca_file.read_bytes(), pod.key_file.read_bytes()
    (pod.state / "ca.crt").write_bytes(content)
    context = pod.open().context_for("api.stripe.com")
    assert context is not None
    assert pod.key_file.read_bytes() == key
    old = pod.root / "old" / "ca.crt"
    old.parent.mkdir()
    old.write_bytes(first)
    assert verifies(leaf_of(context, "api.stripe.com"), old, "api.stripe.com")
    assert warnings_of(caplog) == ["the certificate of the authority is of no use: a new one is made"]


def test_a_certificate_of_its_key_without_constraints_is_foreign(pod: Pod) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pod.state.mkdir()
    pod.key_file.write_bytes(key_pem(key))
    (pod.state / "ca.crt").write_bytes(pem([make_authority(key=key).certificate]))
    pod.open()
    assert permitted(pod.certificate()) == {"api.stripe.com", "salesforce.com"}


def test_a_key_that_others_could_read_is_closed_to_them(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    pod.open()
    pod.key_file.chmod(0o660)
    pod.open()
    assert pod.key_file.stat().st_mode & 0o777 == 0o600
    assert warnings_of(caplog) == ["others could read the key of the authority: now only its owner may"]


def test_a_state_that_cannot_hold_it_is_a_settings_error(pod: Pod) -> None:
    pod.key_file.mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"^--state / SIDECAR_STATE: expected a directory in which .*\(is a dir"):
        pod.open()


def test_what_lies_in_the_directories_and_who_may_read_it(pod: Pod) -> None:
    pod.open()
    modes = {path.relative_to(pod.root).as_posix(): path.stat().st_mode & 0o777 for path in pod.root.rglob("*.*")}
    assert modes == {
        "state/ca.key": 0o600, "state/ca.crt": 0o644, "state/authority.json": 0o600,
        "shared/ca.crt": 0o644, "shared/bundle.crt": 0o644,
    }  # fmt: skip
