"""A Pod comes up: in order, locked down, small, soon; and the application sees nothing that is not its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pod.answers import admin, more_calls, said, started_to_ready_s
from tests.pod.cluster import Cluster
from tests.pod.containers import status_of
from tests.pod.kubelet import Pod
from tests.pod.manifests import FOREVER, STRIPE, till


@pytest.fixture(scope="module")
def pod(town: Cluster) -> Iterator[Pod]:
    """One for all: no test here changes it."""
    town.provider.answers()
    town.policies("providers", stripe=STRIPE)
    yield town.pod(till(*FOREVER)).running()
    town.close_pods()


def test_the_application_starts_once_the_sidecar_is_ready_and_the_certificates_are_there(pod: Pod) -> None:
    assert pod.story()[:4] == ["sidecar started", "sidecar startup passed", "app started", "pod started"]
    more_calls(pod, 1)
    first, *_ = said(pod)
    assert first["started"]
    assert first["certificates"] > 1, "the bundle has the system's roots and ours"
    assert pod.get("/readyz")[0] == 200


def test_what_the_manifest_says_of_security_is_in_force(pod: Pod) -> None:
    status = status_of(pod["sidecar"].pid)
    assert status["Uid"].split() == ["65532"] * 4
    assert status["Gid"].split() == ["65532"] * 4
    assert (status["CapPrm"], status["CapBnd"], status["CapAmb"]) == ("0" * 16,) * 3
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert "Read-only" in pod.exec_fails("sidecar", "python", "-c", "open('/anywhere', 'w')")
    # The sidecar itself has found the limit of its memory, and keeps its cache within.
    assert [one["limit_bytes"] for one in said(pod, "sidecar") if "limit_bytes" in one] == [256 * 2**20]
    more_calls(pod)


def test_the_application_sees_no_key_no_state_and_no_secret_of_the_sidecars(pod: Pod) -> None:
    look = "import os; print(*sorted(os.path.join(d, f) for d, _, fs in os.walk('/run/sidecar') for f in fs))"
    seen = pod.execute("app", "python", "-c", look).split()
    assert "/run/sidecar/ca/ca.crt" in seen
    assert all(name.endswith((".crt", ".p12")) for name in seen), seen
    in_sight = "import pathlib; print([p for p in ('/var/lib/sidecar', '/etc/sidecar') if pathlib.Path(p).exists()])"
    assert pod.execute("app", "python", "-c", in_sight) == "[]"
    assert "PRIVATE" not in pod.execute("app", "python", "-c", "print(open('/run/sidecar/ca/bundle.crt').read())")
    assert "Read-only" in pod.exec_fails("app", "python", "-c", "open('/run/sidecar/ca/ca.crt', 'a')", user=0)
    assert "Read-only" in pod.exec_fails("app", "python", "-c", "open('/run/sidecar/ca/mine', 'w')", user=0)
    # Not even as root of its container, had it been one: the mounts are not there.
    assert "No such file" in pod.exec_fails("app", "python", "-c", "open('/var/lib/sidecar/ca.key')", user=0)
    assert pod.execute("sidecar", "python", "-c", "print(open('/etc/sidecar/secrets/roots/ca.crt').read())")


def test_it_is_small_and_soon_ready(here: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """Idle, with the packs that are shipped."""
    manifest = till("/programs/idle.py")
    del manifest["metadata"]["annotations"]["sidecar/policies"]
    pod = here.pod(manifest).running()
    resident, anonymous = memory_mib(pod["sidecar"].pid)
    ready_s = started_to_ready_s(pod)
    with capsys.disabled():
        print(f"\nsidecar in a Pod: {resident:.1f} MiB resident ({anonymous:.1f} its own), ready after {ready_s:.2f} s")
    # Loose, since the machine has others to serve, too: `make bench` measures.
    assert resident < 90
    assert ready_s < 5
    assert admin(pod, "/livez") == {"status": "ok"}


def memory_mib(pid: int) -> tuple[float, float]:
    """What is resident, and how much of that is no file's."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return sizes["Rss"], sizes["Anonymous"]
