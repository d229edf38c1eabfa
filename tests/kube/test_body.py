"""How long a caller waits. The bounds themselves: `test_webhook.py`, over a connection."""

from __future__ import annotations

import pytest

from sidecar.kube.body import timeout_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5.0),
        ("1m0s", 60.0),
        ("1m30s", 90.0),
        ("0.5s", 0.5),
        ("", float("inf")),
        ("x", float("inf")),
        ("0s", float("inf")),
    ],
)
def test_the_caller_s_timeout(text: str, seconds: float) -> None:
    assert timeout_s(text) == seconds
