"""A process whose memory nobody of its user can read, and that still presents leaves."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sidecar.authority.hardening import no_core_files

PROGRAM = """
import ctypes, os, resource, sys, time
from pathlib import Path
from sidecar.authority.authority import Authority
from sidecar.authority.hardening import no_core_dumps

class Clock:
    def wall(self):
        return time.time()

root, user = Path(sys.argv[1]), int(sys.argv[2])
if user != os.geteuid():
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
assert no_core_dumps()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
PR_GET_DUMPABLE = 3
assert ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
assert os.stat("/proc/self/environ").st_uid == 0
authority = Authority.open(root, root / "shared", ["api.stripe.com"], Clock())
assert authority.context_for("api.stripe.com") is not None
print("well")
"""


@pytest.mark.parametrize("user", [os.geteuid(), 65534])
def test_it_dumps_nothing_and_goes_on_serving(tmp_path: Path, user: int) -> None:
    """As nobody, too: whoever is not dumpable does not own its own /proc files any more."""
    if user != os.geteuid():
        if os.geteuid() != 0:
            pytest.skip("only root may become somebody else")
        os.chown(tmp_path, user, user)
        for parent in tmp_path.parents:
            if parent == Path(tempfile.gettempdir()):
                break
            parent.chmod(0o711)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(user)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("well\n", 0), done.stderr


def test_from_the_start_no_core_file_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("resource.setrlimit", lambda *limit: asked.append(limit))
    no_core_files()
    assert asked == [(resource.RLIMIT_CORE, (0, 0))]


def test_a_refusal_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import ctypes

    from sidecar.authority.hardening import no_core_dumps

    class Libc:
        def __init__(self, *_: object, **__: object) -> None:
            self.prctl = Refusal()

    class Refusal:
        def __call__(self, *_: int) -> int:
            return -1

    monkeypatch.setattr(ctypes, "CDLL", Libc)
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    assert no_core_dumps() is False
    assert "memory cannot be kept from being dumped" in caplog.text
