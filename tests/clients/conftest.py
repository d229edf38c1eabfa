"""The mark of what installs and runs every client: `make test ARGS="-m 'not clients'"` leaves it out."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "clients: installs and runs every client; takes minutes")
