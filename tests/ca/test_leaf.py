"""What is presented for a name: made once, kept in bounds, renewed in time, by TLS as it should be."""

from __future__ import annotations

import os
import ssl

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from sidecar.authority.leaf import KEPT_MOST
from tests.ca.pki import Pod, handshake, leaf_of, verifies

HOUR_S = 3600.0


def test_a_leaf_says_only_what_it_must(pod: Pod) -> None:
    context = pod.open().context_for("na1.salesforce.com")
    assert context is not None
    leaf = leaf_of(context, "na1.salesforce.com", pod.ca_file)
    get = leaf.extensions.get_extension_for_class
    assert get(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == ["na1.salesforce.com"]
    assert leaf.subject.rfc4514_string() == "O=sidecar"
    assert list(get(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert get(x509.BasicConstraints).value.ca is False
    assert get(x509.KeyUsage).value.digital_signature
    authority_key = pod.certificate().extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert get(x509.AuthorityKeyIdentifier).value.key_identifier == authority_key.key_identifier
    assert get(x509.SubjectKeyIdentifier).value.digest != authority_key.digest
    begins_s, ends_s = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    assert begins_s == pytest.approx(pod.clock.wall() - 300, abs=1)
    assert ends_s == pytest.approx(pod.clock.wall() + 24 * HOUR_S, abs=1)
    assert verifies(leaf, pod.ca_file, "na1.salesforce.com")


def test_a_name_is_signed_once_however_it_is_written(pod: Pod) -> None:
    authority = pod.open()
    context = authority.context_for("api.stripe.com")
    assert authority.context_for("API.stripe.com.") is context
    assert authority.context_for("na1.salesforce.com") is not context
    pod.clock.advance(15.9 * HOUR_S)
    assert authority.context_for("api.stripe.com") is context


def test_a_leaf_is_renewed_at_two_thirds_and_when_the_clock_is_set_back_behind_it(pod: Pod) -> None:
    authority = pod.open()
    first = authority.context_for("api.stripe.com")
    pod.clock.advance(16.1 * HOUR_S)
    second = authority.context_for("api.stripe.com")
    assert second is not first
    pod.clock.advance(-240)
    assert authority.context_for("api.stripe.com") is second
    pod.clock.advance(-0.1 * HOUR_S)
    assert authority.context_for("api.stripe.com") is not second


def test_no_leaf_outlives_the_authority(pod: Pod) -> None:
    authority = pod.open(life_s=2 * HOUR_S)
    context = authority.context_for("api.stripe.com")
    assert context is not None
    assert leaf_of(context, "api.stripe.com").not_valid_after_utc == pod.certificate().not_valid_after_utc


def test_only_so_many_are_kept_the_recently_used_ones(pod: Pod) -> None:
    authority = pod.open()
    kept = authority.context_for("a0.salesforce.com")
    dropped = authority.context_for("a1.salesforce.com")
    for index in range(2, KEPT_MOST):
        authority.context_for(f"a{index}.salesforce.com")
    assert authority.context_for("a0.salesforce.com") is kept
    authority.context_for("api.stripe.com")
    assert authority.context_for("a0.salesforce.com") is kept
    assert authority.context_for("a1.salesforce.com") is not dropped


def test_tls_is_as_it_should_be(pod: Pod) -> None:
    context = pod.open().context_for("api.stripe.com")
    assert context is not None
    client = ssl.create_default_context(cafile=str(pod.ca_file))
    client.set_alpn_protocols(["h2", "http/1.1"])
    session = handshake(client, context, "api.stripe.com")
    assert (session.version(), session.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(client, context, "api.stripe.com").version() == "TLSv1.2"
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_session_is_resumed(pod: Pod) -> None:
    context = pod.open().context_for("api.stripe.com")
    assert context is not None
    client = ssl.create_default_context(cafile=str(pod.ca_file))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    first = handshake(client, context, "api.stripe.com")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    again = client.wrap_bio(back, there, server_hostname="api.stripe.com", session=first.session)
    server = context.wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for side in (again, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert again.session_reused


def test_the_key_of_a_leaf_touches_no_disk_and_no_handle_stays_open(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = pod.open()
    paths: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def watch(context: ssl.SSLContext, certfile: str) -> None:
        paths.append(os.readlink(certfile))
        assert os.stat(certfile).st_mode & 0o777 == 0o600
        load(context, certfile)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watch)
    before = os.listdir("/proc/self/fd")
    assert authority.context_for("api.stripe.com") is not None
    assert paths == ["/memfd:leaf (deleted)"]
    assert os.listdir("/proc/self/fd") == before
