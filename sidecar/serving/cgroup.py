"""What a container may use of the machine's memory, and what it uses: control groups, version 2 and 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")
UNLIMITED_BYTES: Final = 2**60
"""Version 1 writes "no limit" as the largest number of whole pages."""


@dataclass(frozen=True, slots=True)
class Files:
    """A version's names for the same things."""

    limit: str
    used: str
    inactive: str
    """In `memory.stat`: what the kernel takes back from its cache of files before it kills anybody."""


V2: Final = Files("memory.max", "memory.current", "inactive_file")
V1: Final = Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """The group whose limit is met first."""

    directory: Path
    files: Files
    limit_bytes: int

    def used_bytes(self) -> int:
        """What counts against the limit and cannot simply be dropped. Raises OSError or ValueError."""
        used = int((self.directory / self.files.used).read_bytes())
        return used - parse_stat((self.directory / "memory.stat").read_text(), self.files.inactive)


def find_memory_group(root: Path = ROOT, own: Path = OWN) -> MemoryGroup | None:
    """None where there is no limit, or none that can be seen."""
    try:
        groups = list(parse_groups(own.read_text()))
    except OSError:
        return None
    found = [group for mount, path, files in groups for group in _limited(root / mount, path, files)]
    return min(found, key=lambda group: group.limit_bytes, default=None)


def parse_groups(text: str) -> Iterator[tuple[str, PurePosixPath, Files]]:
    """From /proc/self/cgroup: where the memory's controller is mounted, and the group's path there."""
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield "", PurePosixPath(path), V2
        elif "memory" in controllers.split(","):
            yield "memory", PurePosixPath(path), V1


def parse_limit(text: str) -> int | None:
    """Bytes; None for no limit, or for what is no number."""
    text = text.strip()
    if not (text.isascii() and text.isdigit()) or int(text) >= UNLIMITED_BYTES:
        return None
    return int(text)


def parse_stat(text: str, name: str) -> int:
    """One row of `memory.stat`; 0 if it is not there."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _limited(mount: Path, path: PurePosixPath, files: Files) -> Iterator[MemoryGroup]:
    """The group and those that it is in, as far as they are limited. Within a container the mount is often the group
    itself, whatever path the machine knows it by: then only the last of these is there."""
    parts = [part for part in path.parts if part not in ("/", "..")]
    for length in range(len(parts), -1, -1):
        directory = mount.joinpath(*parts[:length])
        try:
            limit_bytes = parse_limit((directory / files.limit).read_text())
        except OSError:
            continue
        if limit_bytes is not None:
            yield MemoryGroup(directory, files, limit_bytes)
