"""The real daemon behind real rules: an unmodified client that only trusts the bundle, in a pod of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.firewall.rules import SIDECAR_UID
from tests.authority import Authority
from tests.firewall.spaces import PROVIDER, Spaces
from tests.firewall.test_redirect import working
from tests.real import need
from tests.wire.client import eventually

HOST, FRESH, STRANGER = "api.acme.test", "fresh.acme.test", "stranger.test"
NOWHERE = "203.0.113.9"
"""An address that no machine has: only who redirects gets an answer."""
FAR = "11.22.33.44"
"""The provider's machine by an address that calls to unknown hosts may use; what names resolve to."""
READY = "http://127.0.0.1:7601/readyz"


class Pod:
    """A pod with the sidecar in it, which is another user than the application."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.spaces = Spaces()
        self.trusted = home / "ca" / "bundle.crt"
        self.log_file = home / "log"

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def start(self) -> None:
        authority = Authority(self.home)
        leaf = authority.issue(PROVIDER[0], HOST, STRANGER, FAR)
        self.spaces.provider.do(need("ip"), "address", "add", FAR, "dev", "eth0")
        self.spaces.provider.start(sys.executable, "-m", "tests.firewall.shop", str(leaf.cert_file), str(leaf.key_file))
        self._write_policies(authority)
        self.spaces.pod.start_quietly(self.log_file, *self._command())
        eventually(lambda: self.curl(READY).returncode == 0, within_s=10, every_s=0.05)

    def _write_policies(self, authority: Authority) -> None:
        """One provider that is there, and one that no connection is kept to."""
        (self.home / "policies").mkdir()
        for name, host, port in (("shop", HOST, 443), ("fresh", FRESH, 8443)):
            policy = {
                "provider": name, "hosts": [host], "upstream": f"https://{PROVIDER[0]}:{port}",
                "tls": {"ca_file": str(authority.ca_file)}, "retry": False,
            }  # fmt: skip
            (self.home / "policies" / f"{name}.yaml").write_text(yaml.safe_dump(policy))
        self.write_egress(unknown="deny")

    def write_egress(self, **keys: Any) -> None:
        (self.home / "policies" / "defaults.yaml").write_text(yaml.safe_dump({"egress": keys}))

    def _command(self) -> list[str]:
        """As the sidecar's user, though one that may read this interpreter's files wherever they are; names resolve by
        a file of its own."""
        hosts = self.home / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{FAR} {STRANGER} {HOST}\n")
        sidecar = [sys.executable, "-m", "sidecar", "run", "--transparent", ":7603"]
        sidecar += ["--ca-dir", str(self.home / "ca"), "--state", str(self.home / "state")]
        sidecar += ["--policies", str(self.home / "policies")]
        user = [need("setpriv"), f"--reuid={SIDECAR_UID}", f"--regid={SIDECAR_UID}", "--clear-groups"]
        user += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        resolving = f'mount --bind "{hosts}" /etc/hosts && exec "$@"'
        return [need("unshare"), "--mount", "sh", "-c", resolving, "sh", *user, *sidecar]

    def up(self, *args: str) -> None:
        done = self.spaces.firewall("up", *args)
        assert (done.returncode, done.stderr) == (0, "")

    def curl(self, *args: str, uid: int = 0) -> subprocess.CompletedProcess[str]:
        """An unmodified one, with one variable."""
        command = [need("setpriv"), f"--reuid={uid}", "--clear-groups", "env", "-i", f"SSL_CERT_FILE={self.trusted}"]
        return self.spaces.pod.run(*command, need("curl"), "-sS", "--max-time", "10", "-i", *args)

    def call(self, host: str, address: str, *args: str, uid: int = 0) -> subprocess.CompletedProcess[str]:
        """`https://host/v1/x`, where the client believes that the host is at `address`."""
        return self.curl("--resolve", f"{host}:443:{address}", *args, f"https://{host}/v1/x", uid=uid)

    def admin(self, path: str) -> Any:
        done = self.spaces.pod.do(need("curl"), "-sS", "-H", "Accept: application/json", f"http://127.0.0.1:7601{path}")
        return json.loads(done)

    def reload(self) -> None:
        self.spaces.pod.do(need("curl"), "-sS", "--fail", "-X", "POST", "http://127.0.0.1:7601/policies/reload")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    working("nft")
    pod = Pod(tmp_path_factory.mktemp("pod"))
    try:
        pod.start()
        yield pod
        assert "Traceback" not in pod.log
    finally:
        pod.spaces.close()


@pytest.fixture
def pod(running: Pod) -> Iterator[Pod]:
    """With rules in force, and nothing let out that no policy names."""
    running.up()
    running.write_egress(unknown="deny")
    running.reload()
    yield running
    running.spaces.firewall("down")


def test_an_unmodified_client_gets_the_whole_pipeline(pod: Pod) -> None:
    done = pod.call(HOST, NOWHERE)
    assert done.stderr == ""
    assert "HTTP/1.1 200" in done.stdout
    assert "Sidecar: provider=shop, " in done.stdout
    assert f"/v1/x {PROVIDER[0]} 1.1 sidecar" in done.stdout
    call = pod.admin("/calls")["calls"][0]
    assert (call["provider"], call["mode"], call["status"]) == ("shop", "transparent", 200)


def test_http_in_clear_gets_it_too(pod: Pod) -> None:
    done = pod.curl("--resolve", f"{HOST}:80:{NOWHERE}", f"http://{HOST}/v1/clear")
    assert "Sidecar: provider=shop, " in done.stdout
    assert f"/v1/clear {PROVIDER[0]} 1.1 sidecar" in done.stdout


def test_the_sidecars_own_user_is_not_redirected(pod: Pod) -> None:
    done = pod.call(HOST, FAR, "--insecure", uid=SIDECAR_UID)
    assert f"/v1/x {HOST} None" in done.stdout
    assert "Sidecar" not in done.stdout
    redirected = pod.call(HOST, FAR, "--insecure", uid=SIDECAR_UID + 1)
    assert "Sidecar: provider=shop, " in redirected.stdout


@pytest.mark.parametrize(("host", "seen"), [(STRANGER, STRANGER), (FAR, FAR)], ids=["by name", "by address"])
def test_an_unknown_host_is_refused_or_spliced_as_egress_says(pod: Pod, host: str, seen: str) -> None:
    refused = pod.call(host, FAR, "--cacert", str(pod.home / "ca.pem"))
    assert (refused.returncode, "alert" in refused.stderr) == (35, True), refused
    pod.write_egress(unknown="allow")
    pod.reload()
    done = pod.call(host, FAR, "--cacert", str(pod.home / "ca.pem"))
    assert f"/v1/x {host} None" in done.stdout, "its own certificate was believed, and nothing added"
    row = next(row for row in pod.admin("/unknown")["unknown"] if row["host"] == seen)
    assert (row["port"], row["allowed"]) == (443, True)


def test_a_server_name_that_belongs_elsewhere_is_refused_where_that_is_verified(pod: Pod) -> None:
    pod.write_egress(unknown="allow", verify_sni=True)
    pod.reload()
    trust = ("--cacert", str(pod.home / "ca.pem"))
    assert f"/v1/x {STRANGER} None" in pod.call(STRANGER, FAR, *trust).stdout
    refused = pod.call(STRANGER, NOWHERE, *trust)
    assert (refused.returncode, "alert" in refused.stderr) == (35, True), refused
    eventually(lambda: "egress.verify_sni is on" in pod.log)
    assert "Sidecar: provider=shop, " in pod.call(HOST, FAR).stdout
    assert pod.call(HOST, NOWHERE).returncode == 35


def test_connections_of_its_own_that_come_back_are_found_out(pod: Pod) -> None:
    pod.up("--uid", "7")
    done = pod.call(FRESH, NOWHERE)
    assert "HTTP/1.1 502" in done.stdout
    assert '"reason":"tls-failed"' in done.stdout
    eventually(lambda: pod.log.count("came back to it") == 1)
