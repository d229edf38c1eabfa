"""What `sidecar run` does before there is a daemon; the daemon is in `tests/test_daemon.py`."""

from __future__ import annotations

import os
import signal

import pytest
from click.testing import CliRunner

from sidecar.cli.main import main


@pytest.mark.parametrize("pid", [1, 2])
def test_only_a_first_process_has_to_heed_sigterm_by_itself(monkeypatch: pytest.MonkeyPatch, pid: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(os, "getpid", lambda: pid)
    try:
        assert CliRunner().invoke(main, ["run", "--listen", "nowhere"]).exit_code == 2

        assert (signal.getsignal(signal.SIGTERM) is before) is (pid != 1)
    finally:
        signal.signal(signal.SIGTERM, before)
