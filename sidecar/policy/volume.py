"""A directory as the kubelet mounts it: `name -> ..data/name`, and `..data` a link that is swapped as a whole.

What may live here: telling one generation of such a volume from the next. Reading its files is `files.py`'s.

The kubelet writes a new directory, renames a new `..data` over the old one, links the names that are new, unlinks those
that are gone, and removes the old directory. Between two of these steps the names beside `..data` are of no one
generation, so names and bytes are taken from the directory that `..data` leads to, and looked at again afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

DATA: Final = "..data"

Generation: TypeAlias = tuple[str, ...]
"""A directory, where its `..data` leads, and the names beside that: equal as long as there was no swap."""


def contents(directory: Path) -> Path | None:
    """Where the files of the generation in force are; None for an ordinary directory."""
    try:
        return directory / os.readlink(directory / DATA)
    except OSError:
        return None


def is_published(path: Path) -> bool:
    """Whether it is one of the links that lead into the generation in force."""
    try:
        return os.readlink(path).startswith(f"{DATA}/")
    except OSError:
        return False


def beside(file: Path, name: str) -> str:
    """The absolute path of what a file names, relative to its own directory; through `..data` while the kubelet has not
    linked it yet."""
    linked = os.path.abspath(file.parent / name)
    early = os.path.abspath(file.parent / DATA / name)
    return early if os.path.exists(early) and not os.path.exists(linked) else linked


def generations(directories: Sequence[Path]) -> tuple[Generation, ...]:
    """Of those directories that are volumes."""
    return tuple(_generation(one, str(data)) for one in directories if (data := contents(one)) is not None)


def _generation(directory: Path, data: str) -> Generation:
    try:
        names = sorted(name for name in os.listdir(directory) if not name.startswith(".."))
    except OSError:
        names = []
    return str(directory), data, *names
