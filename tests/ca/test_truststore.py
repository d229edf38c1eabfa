"""The forms that Java reads, by Java's own `keytool`."""

from __future__ import annotations

import re
import struct
import subprocess
from hashlib import sha1, sha256
from pathlib import Path

import pytest

from sidecar.authority.ca import pem
from sidecar.authority.truststore import as_jks, as_p12, entries
from tests.ca.pki import make_authority
from tests.real import need

OURS, WORLD, SPARE = (pem([make_authority(name=name).certificate]).decode() for name in ("Ours", "World", "Spare"))


def listed(store: Path, password: str) -> dict[str, str]:
    """Alias to SHA-256, as `keytool` shows them, and only those that it takes for trusted."""
    command = [need("keytool"), "-J-Duser.language=en", "-list", "-keystore", str(store), "-storepass", password]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = re.findall(r"^(\S+), .+, trustedCertEntry, *\n.*\(SHA-256\): ([0-9A-F:]+)", done.stdout, re.MULTILINE)
    assert (done.returncode == 0) is bool(rows), done.stdout
    return {alias: digits.replace(":", "").lower() for alias, digits in rows}


def test_aliases_tell_ours_from_the_worlds_and_nothing_stands_twice() -> None:
    found = entries(OURS + SPARE, WORLD + OURS + WORLD)
    assert [alias.partition("-")[0] for alias in found] == ["sidecar", "sidecar", "root"]
    assert list(found) == list(entries(OURS + SPARE, WORLD))
    assert len(set(found.values())) == 3


def test_a_broken_certificate_is_no_entry() -> None:
    with pytest.raises(ValueError, match="base64"):
        entries("-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n", "")


@pytest.mark.parametrize("form", ["jks", "p12"])
def test_java_reads_it(tmp_path: Path, form: str) -> None:
    found = entries(OURS, WORLD + SPARE)
    data = as_jks(found, "changeit", 1.8e9) if form == "jks" else as_p12(found, "changeit")
    store = tmp_path / f"truststore.{form}"
    store.write_bytes(data)
    assert listed(store, "changeit") == {alias: sha256(der).hexdigest() for alias, der in found.items()}
    assert listed(store, "mistaken") == {}


def test_the_bytes_of_a_jks() -> None:
    """By hand, so that a fault shows without a JDK."""
    body = struct.pack(">III", 0xFEEDFEED, 2, 1) + struct.pack(">IH", 2, 7) + b"sidecar"
    body += struct.pack(">qH", 1_500, 5) + b"X.509" + struct.pack(">I", 3) + b"der"
    digest = sha1("pässword".encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()
    assert as_jks({"sidecar": b"der"}, "pässword", 1.5) == body + digest


def test_a_root_that_the_library_does_not_take_is_left_out() -> None:
    assert as_p12({**entries(OURS, ""), "root-0": b"no certificate"}, "changeit")
