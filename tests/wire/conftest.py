"""One daemon for the run, a provider a test; daemons of their own for tests of settings and signals."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.authority import Authority
from tests.providers import Stage
from tests.wire.daemon import Sidecar


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def _shared_sidecar(tmp_path_factory: pytest.TempPathFactory, stage: Stage, authority: Authority) -> Iterator[Sidecar]:
    sidecar = Sidecar(tmp_path_factory.mktemp("sidecar"), stage, authority)
    yield sidecar
    sidecar.stop()


@pytest.fixture
def sidecar(_shared_sidecar: Sidecar) -> Iterator[Sidecar]:
    """The run's daemon with default settings, unknown hosts denied."""
    yield _shared_sidecar
    _shared_sidecar.clear()


@pytest.fixture
def run_sidecar(tmp_path: Path, stage: Stage, authority: Authority) -> Iterator[Callable[..., Sidecar]]:
    """Starts a daemon with flags (and `defaults`, `environ`) of the test's own."""
    started: list[Sidecar] = []

    def run(*flags: str, **more: Any) -> Sidecar:
        sidecar = Sidecar(tmp_path / f"own{len(started)}", stage, authority, *flags, **more)
        started.append(sidecar)
        return sidecar

    yield run
    for sidecar in started:
        if sidecar.process.poll() is None:
            sidecar.clear()
            sidecar.stop()
        assert "Traceback" not in sidecar.log, sidecar.log


@pytest.fixture
def need_files() -> Iterator[Callable[[int], None]]:
    """Leave to open that many files, for this process and the daemons it starts; skips where the machine forbids it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def need(count: int) -> None:
        if soft == resource.RLIM_INFINITY or soft >= count:
            return
        if hard != resource.RLIM_INFINITY and hard < count:
            pytest.skip(f"needs {count} open files, the hard limit is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))

    yield need
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
