"""Memory stays within its bound under a million distinct keys: what is counted, and what the process really holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.million import BOUND_BYTES, KEYS

MARGIN_BYTES = 4 * 1024 * 1024
"""What the allocator keeps of what has come and gone."""


def test_a_million_keys() -> None:
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "tests.million"], cwd=root, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert BOUND_BYTES * 0.9 < figures["held_bytes"] <= BOUND_BYTES
    assert figures["grown_bytes"] <= BOUND_BYTES + MARGIN_BYTES
    assert 0 < figures["entries"] < KEYS // 20
