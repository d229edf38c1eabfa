from __future__ import annotations

from pathlib import Path

import pytest

from tests.ca.pki import Pod


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)
