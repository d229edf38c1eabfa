"""The image, and one daemon in a container of it that may do next to nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.image.container import Container, running
from tests.pod.image import built
from tests.pod.podman import need_pods, sweep

# A file that a shell would be is one that cannot be run.
NO_SHELL = [f"--volume=/dev/null:/usr/bin/{shell}:ro" for shell in ("bash", "dash")]


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    need_pods()
    sweep(mine=False)
    yield built()
    sweep(mine=True)


@pytest.fixture(scope="session")
def daemon(image: str) -> Iterator[Container]:
    """With the shipped policies, nobody to call, and no shell."""
    with running(image, *NO_SHELL) as container:
        container.exec("sidecar", "probe", "startup", "--wait", "50s")
        yield container
