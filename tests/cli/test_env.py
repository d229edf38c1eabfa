"""`sidecar env`: what shells, containers and JVMs make of what it prints."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from sidecar.cli.main import main

AWKWARD = 'o\'neil "& sons" $HOME\\x'


@pytest.fixture
def ca_dir(tmp_path: Path) -> Path:
    made = tmp_path / AWKWARD
    made.mkdir()
    (made / "bundle.crt").touch()
    return made


def run(*args: str, **environ: str) -> Result:
    clean = {"SIDECAR_LISTEN": None, "SIDECAR_CA_DIR": None, "SIDECAR_PROXY_AUTH": None, **environ}
    return CliRunner().invoke(main, ["env", *args], prog_name="sidecar", env=clean)


def variables(*args: str, **environ: str) -> dict[str, str]:
    result = run("--json", *args, **environ)
    assert result.exit_code == 0, result.stderr
    found: dict[str, str] = json.loads(result.stdout)
    return found


def test_both_cases_lead_to_the_listener_and_loopback_stays_direct() -> None:
    found = variables("--listen", "127.0.0.1:7700")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        assert found[name] == "http://127.0.0.1:7700"
    assert found["NO_PROXY"] == found["no_proxy"] == "localhost,127.0.0.1,::1"


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("0.0.0.0:7600", "http://127.0.0.1:7600"),
        (":7600", "http://127.0.0.1:7600"),
        ("[::1]:7600", "http://[::1]:7600"),
        ("sidecar.local:7600", "http://sidecar.local:7600"),
    ],
)
def test_what_listens_everywhere_is_called_on_loopback(listen: str, url: str) -> None:
    assert variables(SIDECAR_LISTEN=listen)["HTTPS_PROXY"] == url


def test_what_replaces_roots_gets_the_bundle_and_what_adds_gets_ours(ca_dir: Path) -> None:
    found = variables("--ca-dir", str(ca_dir))
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"):
        assert found[name] == str(ca_dir / "bundle.crt")
    assert found["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] == str(ca_dir / "bundle.crt")
    assert found["NODE_EXTRA_CA_CERTS"] == str(ca_dir / "ca.crt")


def test_without_certificates_or_without_proxies(ca_dir: Path) -> None:
    assert not {name for name in variables("--ca-dir", "off") if "CERT" in name or "CA" in name}
    redirected = variables("--transparent", "--ca-dir", str(ca_dir))
    assert not {name for name in redirected if "PROXY" in name.upper() or name == "JAVA_TOOL_OPTIONS"}
    assert "SSL_CERT_FILE" in redirected


@pytest.mark.parametrize("shell", ["sh", "dotenv"])
def test_a_shell_reads_back_each_value(shell: str, ca_dir: Path) -> None:
    args = ("--ca-dir", str(ca_dir), "--no-proxy", "10.0.0.0/8")
    printed = run("--shell", shell, *args).stdout
    told = subprocess.run(
        ["sh", "-ac", f"{printed}\nexec env -0"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    )
    seen = dict(entry.split("=", 1) for entry in told.stdout.decode().split("\0") if entry)
    assert variables(*args).items() <= seen.items()


def test_fish_has_quotes_of_its_own(ca_dir: Path) -> None:
    lines = run("--shell", "fish", "--ca-dir", str(ca_dir)).stdout.splitlines()
    escaped = str(ca_dir / "ca.crt").replace("\\", "\\\\").replace("'", "\\'")
    assert f"set -gx NODE_EXTRA_CA_CERTS '{escaped}'" in lines


def test_a_container_gets_the_same_and_keeps_its_cluster_direct(ca_dir: Path) -> None:
    entries = yaml.safe_load(run("--k8s", "--ca-dir", str(ca_dir)).stdout)
    found = {entry["name"]: entry["value"] for entry in entries}
    expected = variables("--ca-dir", str(ca_dir))
    assert found.keys() == expected.keys()
    assert found["SSL_CERT_FILE"] == expected["SSL_CERT_FILE"]
    assert found["NO_PROXY"] == "localhost,127.0.0.1,::1,.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST)"
    assert "*.svc|*.cluster.local|$(KUBERNETES_SERVICE_HOST)" in found["JAVA_TOOL_OPTIONS"]


def test_a_manifest_refers_to_the_password_and_a_shell_has_it() -> None:
    password = {"SIDECAR_PROXY_AUTH": "app:p@ss/w:rd"}
    assert variables(**password)["HTTPS_PROXY"] == "http://app:p%40ss%2Fw%3Ard@127.0.0.1:7600"
    manifest = run("--k8s", **password).stdout
    assert '"http://$(SIDECAR_PROXY_AUTH)@127.0.0.1:7600"' in manifest
    assert "p%40" not in manifest
    assert "p@ss" not in manifest


def test_java_is_told_in_its_own_words(ca_dir: Path) -> None:
    options = variables("--listen", "[::1]:7600", "--no-proxy", ".corp.example", "--no-proxy", "10.0.0.0/8")
    assert options["JAVA_TOOL_OPTIONS"].split() == [
        "-Dhttp.proxyHost=::1",
        "-Dhttp.proxyPort=7600",
        "-Dhttps.proxyHost=::1",
        "-Dhttps.proxyPort=7600",
        "-Dhttp.nonProxyHosts=localhost|127.*|[::1]|*.corp.example",
    ]


def test_java_trusts_the_store_beside_the_bundle_or_the_one_that_is_named(tmp_path: Path, ca_dir: Path) -> None:
    assert "trustStore" not in variables("--ca-dir", str(ca_dir))["JAVA_TOOL_OPTIONS"]
    (tmp_path / "bundle.crt").touch()
    (tmp_path / "truststore.p12").touch()
    beside = variables("--ca-dir", str(tmp_path))["JAVA_TOOL_OPTIONS"]
    assert beside.endswith(
        f"-Djavax.net.ssl.trustStore={tmp_path}/truststore.p12 -Djavax.net.ssl.trustStorePassword=changeit"
    )
    named = variables("--transparent", "--ca-dir", str(tmp_path), "--trust-store", "/my store.p12")["JAVA_TOOL_OPTIONS"]
    assert named == '"-Djavax.net.ssl.trustStore=/my store.p12" -Djavax.net.ssl.trustStorePassword=changeit'


def test_a_bundle_that_is_not_there_yet_is_said_on_stderr_only(tmp_path: Path, ca_dir: Path) -> None:
    result = run("--ca-dir", str(tmp_path))
    assert result.exit_code == 0
    assert "is not there yet" in result.stderr
    assert result.stderr.count("\n") == 1
    assert run("--ca-dir", str(ca_dir)).stderr == run("--ca-dir", "off").stderr == run("--k8s").stderr == ""


def test_a_listener_that_cannot_be_is_refused_in_one_line() -> None:
    result = run("--listen", "7600")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "did you mean 127.0.0.1:7600?" in result.stderr
