"""Orphans, really dead ones: of a process that adopts them as the first of a container does, and of a first one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.serving.reaper import attend_orphans
from tests.real import lacking, need

LAST_S = 20.0
ADOPTING = """
import ctypes, os, subprocess, sys
from sidecar.serving.reaper import reap_orphans

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1) == 0
own = subprocess.Popen(["true"])
# The middle one ends before its child, which is in a session of its own, as whatever enters a container is.
middle = subprocess.Popen(["sh", "-c", "setsid sleep 60 & echo $!"], stdout=subprocess.PIPE)
orphan = int(middle.stdout.readline())
for child in own, middle:
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
while os.getsid(orphan) != orphan:
    os.sched_yield()
living = reap_orphans()
os.kill(orphan, 9)
os.waitid(os.P_PID, orphan, os.WEXITED | os.WNOWAIT)
print(living, reap_orphans(), reap_orphans(), own.wait(), os.path.exists(f"/proc/{orphan}"))
"""


def test_orphans_are_collected_and_own_children_are_left_to_who_waits_for_them() -> None:
    need("setsid")
    done = subprocess.run([sys.executable, "-c", ADOPTING], capture_output=True, text=True, check=True, timeout=LAST_S)

    assert done.stdout.split() == ["0", "1", "0", "0", "False"]


def test_who_is_not_first_leaves_the_signal_alone() -> None:
    before = signal.getsignal(signal.SIGCHLD)

    attend_orphans()

    assert signal.getsignal(signal.SIGCHLD) is before


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + LAST_S
    while not holds():
        assert time.monotonic() < deadline_s
        subprocess.run(["true"], check=True)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def first(tmp_path: Path) -> subprocess.Popen[str]:
    """A daemon that is the first process of a PID namespace, under `unshare`."""
    command = [need("unshare"), "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid():
        command[1:1] = ["--user", "--map-root-user"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        lacking("this machine forbids PID namespaces")
    listeners = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain", "0s")
    places = ("--state", str(tmp_path / "state"), "--ca-dir", str(tmp_path / "ca"))
    return subprocess.Popen(
        [*command, sys.executable, "-m", "sidecar", "run", *listeners, *places],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_first_process_of_a_container_reaps_and_ends_as_told(first: subprocess.Popen[str]) -> None:
    need("nsenter")
    with first:
        assert first.stdout is not None
        try:
            seen = ""
            while '"listener":"admin"' not in seen.replace(" ", ""):
                seen = first.stdout.readline()
                assert seen, "the daemon has ended"
            (daemon,) = children_of(first.pid)
            until(lambda: children_of(daemon) == [])
            enter = ["nsenter", "--target", str(daemon), "--pid", "setsid", "--wait"]
            subprocess.run([*enter, "sh", "-c", "sleep 0.01 &"], check=True, timeout=LAST_S)
            # Nothing is left of it: neither alive nor dead and waiting.
            until(lambda: children_of(daemon) == [])

            os.kill(daemon, signal.SIGTERM)

            assert first.wait(LAST_S) == 0
            assert "Traceback" not in first.stdout.read()
        finally:
            first.kill()
