"""The image of the sidecar, built of what is there now."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import Final

from tests.pod.podman import podman

ROOT: Final = Path(__file__).parents[2]
IMAGE: Final = "localhost/sidecar:dev"


def built(image: str = IMAGE, context: Path = ROOT) -> str:
    """The image, made anew where its sources changed. Runs side by side take turns; whoever comes second finds all
    layers made. To compile it takes minutes: SIDECAR_TEST_IMAGE names one to take as it is instead."""
    if image == IMAGE and (given := os.environ.get("SIDECAR_TEST_IMAGE")):
        if given != IMAGE:
            podman("tag", given, IMAGE)
        return IMAGE
    with (Path(tempfile.gettempdir()) / f"sidecar-test-build-{os.getuid()}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        podman("build", "--network=host", "--quiet", "--tag", image, str(context), timeout_s=900)
    return image
