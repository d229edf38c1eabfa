from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sidecar.stores.secret import SECRET_BYTES, fleet_secret, keep_secret


def test_it_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    secret = keep_secret(tmp_path)
    assert len(secret) == SECRET_BYTES
    assert keep_secret(tmp_path) == secret
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.iterdir()] == [("cache.key", 0o600)]


def test_two_that_start_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(keep_secret, [tmp_path] * 64))) == 1


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_damaged_one_is_replaced(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache.key").write_bytes(content)
    secret = keep_secret(tmp_path)
    assert keep_secret(tmp_path) == secret != content
    assert [line.message for line in caplog.records] == [
        "the secret of the cache is damaged: it is replaced, and what was stored is dropped"
    ]


def test_without_a_place_for_it_the_process_has_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert keep_secret(tmp_path / "gone") != keep_secret(tmp_path / "gone")
    (tmp_path / "cache.key").mkdir()
    assert len(keep_secret(tmp_path)) == SECRET_BYTES
    assert len(caplog.records) == 3


def test_why_it_cannot_be_kept_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    keep_secret(tmp_path / "gone", told.append)
    keep_secret(tmp_path, told.append)
    assert told == ["no such file or directory"]


def test_a_fleet_agrees_without_a_file() -> None:
    assert fleet_secret("a") == fleet_secret("a") != fleet_secret("b")
    assert fleet_secret(None) == fleet_secret("")
    assert len(fleet_secret("a")) == SECRET_BYTES
