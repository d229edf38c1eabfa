"""Containers of the image as a careful cluster runs them: nothing to write, no capability, no network but loopback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.pod.podman import mark, podman, unique
from tests.real import need

CONFINED: Final = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--user=65532:65532",
    "--network=none",
)


def run(image: str, *args: str, options: tuple[str, ...] = CONFINED) -> subprocess.CompletedProcess[str]:
    """One command of `sidecar` in a container of its own."""
    command = [need("podman"), "run", "--rm", *mark(), *options, image, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def python(image: str, script: str) -> Any:
    """What a script prints as JSON that runs on the image's Python."""
    done = run(image, "-c", script, options=(*CONFINED, "--entrypoint=python"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@dataclass(frozen=True)
class Container:
    """One that runs."""

    name: str

    def exec(self, *command: str) -> str:
        return podman("exec", self.name, *command)

    def logs(self) -> list[dict[str, Any]]:
        """Its lines, each of which is an object; a traceback would be none."""
        return [json.loads(line) for line in podman("logs", self.name).splitlines()]

    def inspect(self) -> dict[str, Any]:
        (document,) = json.loads(podman("container", "inspect", self.name))
        return dict(document)


@contextmanager
def running(image: str, *options: str, confined: bool = True) -> Iterator[Container]:
    name = unique("sidecar")
    podman("run", "--detach", "--name", name, *mark(), *(CONFINED if confined else ()), *options, image)
    try:
        yield Container(name)
    finally:
        podman("rm", "--force", "--volumes", "--time", "0", name)
