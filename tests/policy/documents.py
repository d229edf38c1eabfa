"""Policies on disk, written by tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

from sidecar.policy.sources import LoadedPolicies, load_policies


def write(directory: Path, **files: str) -> Path:
    """Write `name=text` as name.yaml, each in one step, as editors and mounts do."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        fresh = directory / f".{name}.new"
        fresh.write_text(dedent(text))
        os.replace(fresh, directory / f"{name}.yaml")
    return directory


def load(directory: Path, **files: str) -> LoadedPolicies:
    return load_policies([write(directory, **files)])


def texts(loaded: LoadedPolicies, directory: Path) -> list[str]:
    """The problems, with file names alone."""
    return [problem.text().replace(f"{directory}/", "") for problem in loaded.problems]


def _key(name: str) -> str:
    return name if "." in name else f"{name}.yaml"


class ConfigMap:
    """A directory as kubelet mounts it: `name -> ..data/name`, and `..data` swapped as a whole."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._version = 0
        directory.mkdir(parents=True, exist_ok=True)

    def publish(self, **files: str) -> None:
        for _ in self.swap(**files):
            pass

    def swap(self, **files: str) -> Iterator[None]:
        """The same step by step, as the kubelet's AtomicWriter goes about it."""
        self._version += 1
        data = self.directory / f"..2026_{self._version}"
        data.mkdir()
        for name, text in files.items():
            (data / _key(name)).write_text(dedent(text))
        old = (self.directory / "..data").resolve() if (self.directory / "..data").exists() else None
        (self.directory / "..data_tmp").symlink_to(data.name)
        yield
        os.replace(self.directory / "..data_tmp", self.directory / "..data")
        yield
        for name in files:
            link = self.directory / _key(name)
            if not link.is_symlink():
                link.symlink_to(f"..data/{link.name}")
        yield
        for link in self.directory.glob("[!.]*"):
            if link.name not in map(_key, files):
                link.unlink()
        yield
        if old is not None:
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
        yield
