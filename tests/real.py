"""Real parts that a machine may lack: a test that needs one skips with the reason, and fails where CI promised it."""

from __future__ import annotations

import os
import shutil

import pytest


def need(command: str) -> str:
    """The path of a program."""
    found = shutil.which(command)
    if found is not None:
        return found
    reason = f"`{command}` is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, though CI must have it: see .ci/run")
    pytest.skip(reason)
