"""Compiles the modules that every call passes through, by mypyc, into the wheel. `make wheel` asks for it.

The sources stay in the wheel beside the compiled modules, so that tracebacks have their lines and another Python runs
them as they are: a compiled build is faster and nothing else. What it needs (a C compiler, mypy, setuptools, the
project's dependencies for their types) is the development environment, hence `--no-build-isolation`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HOT = (
    "sidecar/call.py",
    "sidecar/clock.py",
    "sidecar/http1/*.py",
    "sidecar/intercept/*.py",
    "sidecar/policy/match.py",
    "sidecar/policy/template.py",
    "sidecar/rules/*.py",
    "sidecar/rules/cache/*.py",
    "sidecar/serving/directory.py",
    "sidecar/steps/*.py",
    "sidecar/stores/behind.py",
    "sidecar/stores/calendar.py",
    "sidecar/stores/fifo.py",
    "sidecar/stores/ghosts.py",
    "sidecar/stores/shelf.py",
    "sidecar/stores/tiers.py",
    "sidecar/telemetry/attempt_book.py",
    "sidecar/telemetry/cache_book.py",
    "sidecar/telemetry/calls.py",
    "sidecar/telemetry/desk.py",
    "sidecar/telemetry/meters.py",
    "sidecar/telemetry/route_book.py",
    "sidecar/telemetry/sampling.py",
)
"""Compiled as one group, since a call between compiled and interpreted code costs more than either."""
NOT_HOT = ("__init__.py", "dial.py")

COMPILE = "hot_path/compile.py"


class CompileHotPath(BuildHookInterface[Any]):
    """Adds compiled modules to the wheel; editable installs stay as they are."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        out = root / "build" / "mypyc"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        modules = [
            str(path.relative_to(root))
            for pattern in HOT
            for path in sorted(root.glob(pattern))
            if path.name not in NOT_HOT
        ]
        # No warnings: following the flow of generated lines for them takes four times as long as compiling. No
        # symbols for others to link with: a sixth of the library would be their names.
        flags = f"{os.environ.get('CFLAGS', '')} -w -fvisibility=hidden"
        environ = os.environ | {"MYPYPATH": str(root), "CFLAGS": flags}
        subprocess.run([sys.executable, COMPILE, str(out), *modules], cwd=root, env=environ, check=True)
        for library in (out / "lib").rglob("*.so"):
            build_data["force_include"][str(library)] = str(library.relative_to(out / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
