"""What `sidecar inject` makes of each of `manifests/`, kept in `golden/` for people to read.

`python -m tests.kube.goldens --write` makes them anew; look at the difference before it is committed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sidecar.kube.annotations import Defaults
from sidecar.kube.stream import Injected, inject_stream

HERE = Path(__file__).parent
MANIFESTS = sorted((HERE / "manifests").iterdir())


def injected(manifest: Path) -> Injected:
    # The release's number would change every golden with every release.
    return inject_stream(manifest.read_text(), manifest.name, Defaults(image="sidecar:dev"), asked=True)


def golden(manifest: Path) -> Path:
    return HERE / "golden" / manifest.name


def write() -> None:
    for manifest in MANIFESTS:
        found = injected(manifest)
        assert not found.problems, found.problems
        golden(manifest).write_text(found.text)
        for warning in found.warnings:
            print(warning)


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    write()
