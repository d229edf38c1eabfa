"""`sidecar ca`: what a daemon published, shown and exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.cli.main import main
from tests.ca.pki import Pod
from tests.ca.test_truststore import listed


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    pod = Pod(tmp_path)
    pod.open()
    return pod


def ca(pod: Pod, *args: str) -> Result:
    return CliRunner().invoke(main, ["ca", *args], env={"SIDECAR_CA_DIR": str(pod.ca_dir)})


def test_show_says_what_it_may_sign_and_until_when(pod: Pod) -> None:
    done = ca(pod, "show")
    assert done.exit_code == 0
    assert "permits   api.stripe.com, salesforce.com\n" in done.stdout
    (row,) = json.loads(ca(pod, "show", "--json").stdout)["certificates"]
    assert row["subject"] == "CN=sidecar authority,O=sidecar"


@pytest.mark.parametrize("form", ["p12", "jks"])
def test_a_trust_store_is_written(pod: Pod, form: str) -> None:
    store = pod.root / f"truststore.{form}"
    assert ca(pod, "export", "--format", form, "-o", str(store), "--password", "another", "--alone").exit_code == 0
    assert list(listed(store, "another")) == ["sidecar"]
    assert store.stat().st_mode & 0o777 == 0o644
    assert ca(pod, "export", "--format", form, "-o", str(store)).exit_code == 0
    assert len(listed(store, "changeit")) > 1


def test_pem_is_what_is_published(pod: Pod) -> None:
    assert ca(pod, "export", "--format", "pem").stdout_bytes == (pod.ca_dir / "bundle.crt").read_bytes()
    assert ca(pod, "export", "--format", "pem", "--alone").stdout_bytes == pod.ca_file.read_bytes()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--format", "pem", "--password", "changeit"], "PEM has no password"),
        (["--format", "p12", "--password", "short"], "at least 6 characters"),
        (["--format", "p12", "-o", "/proc/nowhere/t.p12"], "cannot be written: no such file or directory"),
        (["--format", "pem", "--ca-dir", "off"], "it is off"),
        (["--format", "pem", "--ca-dir", "/nowhere"], "a running daemon with this --ca-dir puts it there"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(pod: Pod, args: list[str], said: str) -> None:
    done = ca(pod, "export", *args)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_binary_store_is_not_printed_on_a_terminal(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.cli.ca.at_terminal", lambda: True)
    assert "name a file with -o" in ca(pod, "export", "--format", "jks").stderr
    assert ca(pod, "export", "--format", "pem").exit_code == 0


@pytest.mark.parametrize("content", [b"", b"\xff", b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"])
def test_damaged_files_are_told_from_missing_ones(pod: Pod, content: bytes) -> None:
    pod.ca_file.write_bytes(content)
    done = ca(pod, "show")
    assert done.exit_code == 2
    assert "ca.crt is damaged" in done.stderr
    if content:
        assert "damaged" in ca(pod, "export", "--format", "jks").stderr
