"""Which files are policies, and their bytes: a path is a file, or a directory such as a mounted ConfigMap.

What may live here: finding and reading. What the bytes mean is `load.py`'s.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.policy.problem import PolicyProblem

LARGEST_FILE_BYTES = 1024 * 1024
SUFFIXES = (".yaml", ".yml")
DEFAULTS = ("defaults.yaml", "defaults.yml")


@dataclass(frozen=True, slots=True)
class Found:
    """The policy files under some paths, in the order in which they were named, then by name."""

    files: tuple[Path, ...]
    problems: tuple[PolicyProblem, ...]
    """Paths that do not exist, cannot be listed, or hold no policy."""


def shipped_policies() -> Path:
    """The packs that come with sidecar: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "policies"
    return installed if installed.is_dir() else package.parent / "policies"


def find_files(paths: Sequence[Path]) -> Found:
    """Every policy file once, however many ways lead to it, with the defaults.yaml beside a file that was named."""
    files: dict[str, Path] = {}
    problems: list[PolicyProblem] = []
    for path in paths:
        try:
            listed = _list(path)
        except OSError as error:
            problems.append(_unusable(path, "a readable file or directory", error.strerror or "an error"))
            continue
        if not listed:
            problems.append(_unusable(path, "at least one *.yaml file", "an empty directory"))
        for file in listed:
            files.setdefault(os.path.realpath(file), file)
    return Found(tuple(files.values()), tuple(problems))


def read_file(path: Path) -> bytes | PolicyProblem:
    """The bytes of a regular file of at most `LARGEST_FILE_BYTES`; a larger one is refused before it is read."""
    try:
        # Without O_NONBLOCK, opening a FIFO that somebody left there would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return _unusable(path, "a regular file", "something else")
            if status.st_size > LARGEST_FILE_BYTES:
                return _too_large(path, f"{status.st_size} bytes")
            data = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        return _unusable(path, "a readable file", (error.strerror or "an error").lower())
    return data if len(data) <= LARGEST_FILE_BYTES else _too_large(path, "more")


def _list(path: Path) -> list[Path]:
    if not path.is_dir():
        path.stat()
        beside = [path.parent / name for name in DEFAULTS if path.name not in DEFAULTS]
        return [*(file for file in beside if file.is_file()), path]
    names = sorted(name for name in os.listdir(path) if name.endswith(SUFFIXES) and not name.startswith("."))
    return [path / name for name in names if not (path / name).is_dir()]


def _unusable(path: Path, expected: str, got: str) -> PolicyProblem:
    return PolicyProblem(str(path), 1, 1, "", expected, got.lower())


def _too_large(path: Path, got: str) -> PolicyProblem:
    expected = f"a file of at most {LARGEST_FILE_BYTES} bytes"
    return PolicyProblem(str(path), 1, 1, "", expected, got, "is it a policy at all?")
