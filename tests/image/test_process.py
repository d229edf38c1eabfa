"""The daemon in a container of the image: its start, its place as the first process, its end."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from datetime import datetime

import pytest

from tests.image.container import CONFINED, Container, run, running
from tests.pod.podman import podman

pytestmark = pytest.mark.timeout(900)  # the first test builds the image

LAST_S = 30.0
MADE_BY_PODMAN = ("/dev", "/etc", "/proc", "/run", "/sys", "/tmp")
ORPHAN = """
import os, sys
if os.fork() == 0:
    os.read(0, 1)
    os.kill(os.getpid(), 9)
print("left behind")
"""
CERTIFICATES = """
import json, os
print(json.dumps({one.name: one.stat().st_mode & 0o777 for one in os.scandir("/run/sidecar/ca")}))
"""
PROCESSES = """
import json, os
rows = [open(f"/proc/{name}/stat").read() for name in os.listdir("/proc") if name.isdigit()]
print(json.dumps([[row.split()[0], row.rpartition(")")[2].split()[0]] for row in rows]))
"""


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + LAST_S
    while not holds():
        assert time.monotonic() < deadline_s


def test_it_starts_where_nothing_may_be_written_and_without_a_shell(daemon: Container) -> None:
    assert daemon.exec("sidecar", "probe", "ready") == "ready"
    assert daemon.exec("sidecar", "probe", "live") == "alive"
    with pytest.raises(RuntimeError):
        daemon.exec("sh", "-c", "true")


def test_it_is_soon_ready(daemon: Container, record_property: pytest.RecordProperty) -> None:
    """How soon, is for the benchmark to hold; here it shows when something compiles at every start."""
    started = datetime.fromisoformat(daemon.inspect()["State"]["StartedAt"][:26] + "+00:00")
    listening = [line for line in daemon.logs() if line["message"] == "listening"]
    ready_s = (datetime.fromisoformat(listening[-1]["ts"]) - started).total_seconds()
    record_property("start_to_ready_s", ready_s)

    assert {line["listener"] for line in listening} == {"calls", "admin"}
    assert ready_s < 10


def test_the_application_can_read_its_certificates(daemon: Container) -> None:
    modes = json.loads(daemon.exec("python", "-c", CERTIFICATES))

    assert modes["bundle.crt"] == modes["ca.crt"] == 0o644
    assert not any(name.endswith(".key") for name in modes)


def test_nothing_is_written_outside_of_the_volumes(image: str) -> None:
    with running(image, "--network=none", "--tmpfs=/tmp", confined=False) as container:
        container.exec("sidecar", "probe", "startup", "--wait", "50s")
        changes = json.loads(podman("diff", "--format=json", container.name))

    written = {path for paths in changes.values() for path in paths or ()}
    assert not {path for path in written if not path.startswith(MADE_BY_PODMAN)}


def test_orphans_are_reaped(daemon: Container) -> None:
    assert daemon.exec("python", "-c", ORPHAN) == "left behind"

    def only_living() -> bool:
        rows = json.loads(daemon.exec("python", "-c", PROCESSES))
        return len(rows) == 2 and not any(state == "Z" for _, state in rows)

    until(only_living)
    assert daemon.exec("sidecar", "probe", "ready") == "ready"


def test_it_ends_as_it_is_told(image: str) -> None:
    with running(image, "--env=SIDECAR_DRAIN=0s") as container:
        container.exec("sidecar", "probe", "startup", "--wait", "50s")
        podman("kill", "--signal=TERM", container.name)

        assert podman("wait", container.name) == "0"
        assert container.logs()[-1]["message"] == "stopped"


@pytest.mark.parametrize(
    ("variable", "word"), [("SIDECAR_LISTEN=7600", "--listen"), ("SIDECAR_STATE=/opt/state", "--state")]
)
def test_a_bad_setting_is_2_and_one_line(image: str, variable: str, word: str) -> None:
    done: subprocess.CompletedProcess[str] = run(image, "run", options=(*CONFINED, f"--env={variable}"))

    assert done.returncode == 2
    assert word in done.stderr
    assert done.stderr.count("\n") == 1
