"""Policies that can never change, since a file is mounted, or one generation of a volume: Kubernetes' `subPath`.

What may live here: reading the kernel's table of mounts (`proc(5)`, mountinfo) and what it means for a file. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.policy.problem import printable

MOUNTINFO: Final = "/proc/self/mountinfo"
ROOT: Final = 3
POINT: Final = 4
"""The fields that are read, of `id parent device root point options optional… - type source options`."""

_ESCAPE: Final = re.compile(r"\\(040|011|012|134|043)")
_GENERATION: Final = re.compile(r"/\.\.\d{4}(_\d\d){5}\.\d+(/|$)")
"""The directory that the kubelet's `..data` leads to. What is mounted from inside it stays when that moves on."""
_SUBPATHS: Final = "/volume-subpaths/"
"""Where the kubelet prepares them (`/var/lib/kubelet/pods/<uid>/volume-subpaths/<volume>/<container>/<n>`)."""

_BY_SUBPATH: Final = "is mounted by subPath and will never update: mount the directory"
_ALONE: Final = "is mounted as a single file, so that a file put in its place is never seen: mount the directory"


@dataclass(frozen=True, slots=True)
class Mount:
    """One row of the table, as far as it matters here."""

    root: str
    """What is mounted: a path in its own file system."""
    point: str
    """Where it is mounted."""


@dataclass(frozen=True, slots=True, order=True)
class Fixed:
    """A file, or a directory, whose policies do not change."""

    file: str
    message: str
    """Why, and what to do: continues the sentence that `file` begins."""

    def text(self) -> str:
        return printable(f"{self.file} {self.message}")


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """The rows of `/proc/<pid>/mountinfo`, a later one above an earlier; what is no such row is left out."""
    rows = (line.split(" ") for line in text.split("\n"))
    return tuple(Mount(_plain(row[ROOT]), _plain(row[POINT])) for row in rows if "-" in row[POINT + 2 :])


def fixed_files(files: Iterable[str], mounts: Sequence[Mount]) -> tuple[Fixed, ...]:
    """Which of some files, given by their real paths, can never change; where a directory is why, that, once."""
    return tuple(sorted(set(_fixed(files, {mount.point: mount for mount in mounts}))))


def _fixed(files: Iterable[str], mounts: dict[str, Mount]) -> Iterator[Fixed]:
    for file in files:
        mount = _carrier(file, mounts)
        if mount is None:
            continue
        if _SUBPATHS in mount.root or _GENERATION.search(mount.root):
            yield Fixed(mount.point, _BY_SUBPATH)
        elif mount.point == file:
            yield Fixed(file, _ALONE)


def _carrier(file: str, mounts: dict[str, Mount]) -> Mount | None:
    """The mount that a path lies on: the nearest one above it."""
    point = file
    while point not in mounts:
        if point in ("/", ""):
            return None
        point = point.rpartition("/")[0] or "/"
    return mounts[point]


def _plain(text: str) -> str:
    """A path as it is: white space and backslashes stand there in octal."""
    return _ESCAPE.sub(lambda octal: chr(int(octal[1], 8)), text)
