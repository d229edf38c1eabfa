"""Certificate files: found from the policy's own directory, and known to be usable."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.policy.sources import load_policies
from tests.authority import Authority
from tests.policy.documents import load, texts, write

HEAD = "provider: a\nhosts: [a.com]\n"


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A directory with ca.pem, cert.pem, key.pem, other.pem (another key), locked.pem (a key with a passphrase)."""
    directory = tmp_path / "pem"
    directory.mkdir()
    made = tmp_path / "made"
    made.mkdir()
    authority = Authority(made)
    leaf = authority.issue("client.example")
    (directory / "ca.pem").write_bytes(authority.ca_file.read_bytes())
    (directory / "cert.pem").write_bytes(leaf.cert_file.read_bytes())
    (directory / "key.pem").write_bytes(leaf.key_file.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (directory / "other.pem").write_bytes(key.private_bytes(*form, serialization.NoEncryption()))
    locked = serialization.BestAvailableEncryption(b"secret")
    (directory / "locked.pem").write_bytes(key.private_bytes(*form, locked))
    (directory / "text.pem").write_text("no certificate\n")
    return directory


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path, pem: Path) -> None:
    write(pem, defaults="tls: {ca_file: ca.pem}\n", a=HEAD + "tls: {client_cert: ./cert.pem, client_key: key.pem}\n")
    loaded = load_policies([pem])
    assert not loaded.problems
    tls = loaded.providers[0].tls
    assert (tls.ca_file, tls.client_cert, tls.client_key) == tuple(
        str(pem / name) for name in ("ca.pem", "cert.pem", "key.pem")
    )


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ("{ca_file: none.pem}", "no such file or directory"),
        ("{ca_file: text.pem}", "tls.ca_file: expected a file of PEM certificates"),
        ("{ca_file: key.pem}", "tls.ca_file: expected a file of PEM certificates"),
        ("{ca_file: .}", "tls.ca_file: expected a file of PEM certificates"),
        ("{client_cert: cert.pem, client_key: none.pem}", "no such file or directory"),
        ("{client_cert: cert.pem, client_key: other.pem}", "key values mismatch"),
        ("{client_cert: cert.pem, client_key: locked.pem}", "the key is encrypted"),
        ("{client_cert: text.pem, client_key: key.pem}", "tls.client_cert: expected a PEM certificate"),
    ],
)
def test_files_that_cannot_be_used_are_told(pem: Path, tls: str, said: str) -> None:
    (found,) = texts(load(pem, a=f"{HEAD}tls: {tls}\n"), pem)
    assert said in found


def test_a_file_that_was_mended_is_looked_at_again(pem: Path) -> None:
    (pem / "roots.pem").write_text("no certificate\n")
    assert load(pem, a=HEAD + "tls: {ca_file: roots.pem}\n").problems
    (pem / "roots.pem").write_bytes((pem / "ca.pem").read_bytes())
    assert not load_policies([pem]).problems
