"""The images, and one cluster to each worker. Pods are a test's own and end with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pod.cluster import APP_IMAGE, Cluster, cluster
from tests.pod.image import ROOT, built
from tests.pod.podman import need_pods, sweep


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of a worker builds the image, or waits until the other has. All other waits end by themselves."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need_pods()
    sweep(mine=False)
    built(APP_IMAGE, ROOT / "k8s" / "example" / "app")
    built()
    try:
        with cluster(tmp_path_factory.mktemp("cluster")) as made:
            yield made
    finally:
        sweep(mine=True)


@pytest.fixture
def here(town: Cluster) -> Iterator[Cluster]:
    town.provider.answers()
    yield town
    town.close_pods()
