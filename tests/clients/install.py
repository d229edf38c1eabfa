"""The clients of the lock files, installed below `build/`: once for each state of those files."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PROGRAMS: Final = HERE / "programs"
REQUIREMENTS: Final = HERE / "requirements.lock"
PACKAGES: Final = (HERE / "package.json", HERE / "package-lock.json")
KEPT: Final = HERE.parents[1] / "build" / "clients"


@dataclass(frozen=True)
class Installed:
    """Where the clients are, and how each kind of program is run."""

    root: Path

    def command(self, program: str, node: str) -> list[str]:
        stem, _, kind = program.partition(".")
        match kind:
            case "py":
                # Not the script's own directory first in the path: its programs are called as what they import.
                return [str(self.root / "python/bin/python"), "-P", str(PROGRAMS / program)]
            case "mjs":
                return [str(self.root / f"node/node_modules/{node}/bin/node"), str(self.root / "node" / program)]
            case "java":
                return ["java", "-XX:TieredStopAtLevel=1", "-cp", str(self.root / "java"), stem]
            case _:
                return ["sh", str(PROGRAMS / program)]


def install() -> Installed:
    """Install what is not there yet, one process at a time."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install_packages()
        for program in PROGRAMS.glob("*.mjs"):
            # Node looks for packages beside the program, not beside the working directory.
            shutil.copy2(program, KEPT / "node")
        _run(["javac", "-d", str(KEPT / "java"), *map(str, sorted(PROGRAMS.glob("*.java")))])
    return Installed(KEPT)


def _install_packages() -> None:
    pending = [
        (directory, files, prepare)
        for directory, files, prepare in (("python", (REQUIREMENTS,), _python), ("node", PACKAGES, _node))
        if _digest(files) != _stamp(directory)
    ]
    for directory, _, _ in pending:
        shutil.rmtree(KEPT / directory, ignore_errors=True)
    # Both at once: the one unpacks while the other waits for the network.
    running = [(directory, files, subprocess.Popen(prepare())) for directory, files, prepare in pending]
    failed = [directory for directory, _, process in running if process.wait()]
    assert not failed, f"the clients could not be installed: {', '.join(failed)}"
    for directory, files, _ in running:
        (KEPT / directory / "stamp").write_text(_digest(files))


def _python() -> list[str]:
    target = KEPT / "python"
    venv.create(target, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(target / "bin/python"), "--disable-pip-version-check"]
    return [*pip, "install", "-qq", "--no-compile", "--require-hashes", "--requirement", str(REQUIREMENTS)]


def _node() -> list[str]:
    target = KEPT / "node"
    target.mkdir()
    for file in PACKAGES:
        shutil.copy2(file, target)
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-bin-links", "--loglevel", "error"]
    return ["npm", "ci", "--prefix", str(target), *quiet]


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True)


def _digest(files: Sequence[Path]) -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}".encode()
    return hashlib.sha256(version + b"".join(file.read_bytes() for file in files)).hexdigest()


def _stamp(directory: str) -> str:
    file = KEPT / directory / "stamp"
    return file.read_text() if file.exists() else ""


def versions() -> dict[str, str]:
    """What the lock files say, Node's packages under `node:`."""
    locked = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE))
    for path, package in json.loads(PACKAGES[1].read_text())["packages"].items():
        locked[f"node:{path.removeprefix('node_modules/')}"] = package.get("version", "")
    return locked
