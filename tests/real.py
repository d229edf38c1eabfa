"""Real parts that a machine may lack: a test that needs one skips with the reason, and fails where CI promised it."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def need(command: str) -> str:
    """The path of a program."""
    return shutil.which(command) or lacking(f"`{command}` is not installed")


def lacking(reason: str) -> NoReturn:
    """End the test for what this machine has not got."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, though CI must have it: see .ci/run")
    pytest.skip(reason)
