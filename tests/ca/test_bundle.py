"""What applications are given to trust."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from sidecar.authority.ca import pem
from sidecar.errors import SettingsError
from tests.ca.pki import Pod, key_pem, make_authority


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system with one root; its file holds more than it should."""
    made = make_authority(name="World")
    path = tmp_path / "roots.pem"
    path.write_bytes(b"# World\n" + key_pem(made.key) + pem([made.certificate]) + b"junk")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


def test_the_bundle_has_the_systems_roots_and_ours_and_nothing_else(pod: Pod, roots: Path) -> None:
    pod.open()
    bundle = (pod.ca_dir / "bundle.crt").read_bytes()
    assert bundle.endswith(pod.ca_file.read_bytes())
    assert bundle.count(b"-----BEGIN") == bundle.count(b"-----BEGIN CERTIFICATE-----") == 2
    assert b"junk" not in bundle
    context = ssl.create_default_context(cafile=str(pod.ca_dir / "bundle.crt"))
    assert len(context.get_ca_certs()) == 2


def test_no_private_key_is_in_what_applications_mount(pod: Pod, roots: Path) -> None:
    pod.open().adopt(["other.example"])
    assert sorted(os.listdir(pod.ca_dir)) == ["bundle.crt", "ca.crt"]
    assert all(b"PRIVATE" not in path.read_bytes() for path in pod.ca_dir.iterdir())


def test_what_is_damaged_or_gone_is_mended_and_new_roots_are_taken_up(pod: Pod, roots: Path) -> None:
    authority = pod.open()
    good = pod.ca_file.read_bytes()
    pod.ca_file.unlink()
    (pod.ca_dir / "bundle.crt").write_bytes(b"")
    authority.tick()
    assert pod.ca_file.read_bytes() == good
    roots.write_bytes(pem([make_authority().certificate, make_authority().certificate]))
    authority.tick()
    assert (pod.ca_dir / "bundle.crt").read_bytes() == roots.read_bytes() + good


def test_an_unchanged_bundle_is_not_written_again(pod: Pod, roots: Path) -> None:
    authority = pod.open()
    before = (pod.ca_dir / "bundle.crt").stat().st_ino
    authority.tick()
    assert (pod.ca_dir / "bundle.crt").stat().st_ino == before


def test_the_published_bundle_is_never_taken_for_the_systems_roots(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, roots: Path
) -> None:
    authority = pod.open()
    monkeypatch.setenv("SSL_CERT_FILE", str(pod.ca_dir / "bundle.crt"))
    monkeypatch.setattr("sidecar.authority.bundle.USUAL_ROOTS", (str(roots),))
    authority.tick()
    assert (pod.ca_dir / "bundle.crt").read_bytes().count(pod.ca_file.read_bytes()) == 1


def test_a_system_without_roots_is_warned_of_once(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nothing = ssl.DefaultVerifyPaths(None, None, "", "/nowhere", "", "/nowhere")  # type: ignore[call-arg]
    monkeypatch.setattr("ssl.get_default_verify_paths", lambda: nothing)
    monkeypatch.setattr("sidecar.authority.bundle.USUAL_ROOTS", ())
    authority = pod.open()
    authority.tick()
    assert caplog.text.count("the system has no roots") == 1
    assert (pod.ca_dir / "bundle.crt").read_bytes() == pod.ca_file.read_bytes()


def test_a_directory_that_cannot_be_made_is_a_settings_error(pod: Pod) -> None:
    pod.ca_dir.write_bytes(b"a file")
    with pytest.raises(SettingsError, match=r"^--ca-dir / SIDECAR_CA_DIR: expected a directory .*mount a volume"):
        pod.open()


def test_a_directory_that_cannot_be_written_is_a_settings_error(pod: Pod) -> None:
    (pod.ca_dir / "ca.crt").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"^--ca-dir / SIDECAR_CA_DIR: expected a directory .*mount a volume"):
        pod.open()
