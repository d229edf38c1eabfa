"""Which files are policies, and their bytes: a path is a file, or a directory such as a mounted ConfigMap.

What may live here: finding and reading. What the bytes mean is `load.py`'s.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.policy.gzipped import MAGIC, NotInflated, inflate
from sidecar.policy.problem import PolicyProblem
from sidecar.policy.volume import Generation, contents, generations, is_published

LARGEST_FILE_BYTES = 1024 * 1024
SUFFIXES = (".yaml", ".yml", ".yaml.gz", ".yml.gz")
DEFAULTS = tuple(f"defaults{suffix}" for suffix in SUFFIXES)


@dataclass(frozen=True, slots=True)
class Found:
    """The policy files under some paths, in the order in which they were named, then by name."""

    files: Mapping[Path, Path]
    """Where the bytes of each are: in a mounted ConfigMap, in the generation that was in force."""
    problems: tuple[PolicyProblem, ...]
    """Paths that do not exist, cannot be listed, or hold no policy."""
    generations: tuple[Generation, ...]
    """Of the ConfigMaps among the paths, before they were looked at."""


def shipped_policies() -> Path:
    """The packs that come with sidecar: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "policies"
    return installed if installed.is_dir() else package.parent / "policies"


def find_files(paths: Sequence[Path]) -> Found:
    """Every policy file once, however many ways lead to it, with the defaults.yaml beside a file that was named."""
    before = generations_of(paths)
    files: dict[str, tuple[Path, Path]] = {}
    problems: list[PolicyProblem] = []
    for path in paths:
        try:
            listed = dict(_list(path))
            if not listed:
                problems.append(_empty(path))
        except OSError as error:
            hint = "is it spelled right, and mounted?" if isinstance(error, FileNotFoundError) else ""
            got = error.strerror or "an error"
            problems.append(_unusable(path, "a readable file or directory", got, hint))
            continue
        for file, place in listed.items():
            files.setdefault(os.path.realpath(place), (file, place))
    return Found(dict(files.values()), tuple(problems), before)


def generations_of(paths: Sequence[Path]) -> tuple[Generation, ...]:
    """What is different after a ConfigMap among the paths was swapped."""
    return generations([path if path.is_dir() else path.parent for path in paths])


def read_file(path: Path, place: Path | None = None) -> bytes | PolicyProblem:
    """The bytes of a regular file of at most `LARGEST_FILE_BYTES`; a larger one is refused before it is read.

    They are read from `place`, if it is given, and problems name `path`.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO that somebody left there would wait for ever.
        descriptor = os.open(place or path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return _unusable(path, "a regular file", "something else")
            if status.st_size > LARGEST_FILE_BYTES:
                return _too_large(path, f"{status.st_size} bytes")
            data = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        return _unusable(path, "a readable file", error.strerror or "an error")
    return data if len(data) <= LARGEST_FILE_BYTES else _too_large(path, "more")


def read_policy(path: Path, place: Path | None = None) -> bytes | PolicyProblem:
    """The same, decompressed where the name ends in `.gz`: the bound holds for what comes out, too."""
    data = read_file(path, place)
    if isinstance(data, PolicyProblem):
        return data
    if not path.name.endswith(".gz"):
        if data.startswith(MAGIC):
            return _unusable(path, "YAML", "gzip data", "end its name in .yaml.gz")
        return data
    try:
        plain = inflate(data, LARGEST_FILE_BYTES)
    except NotInflated as error:
        return _unusable(path, error.expected, error.got, error.hint)
    return _too_large(path, "more, decompressed") if plain is None else plain


def _list(path: Path) -> Iterator[tuple[Path, Path]]:
    """The policies under a path, each with where its bytes are. Raises `OSError`."""
    if path.is_dir():
        data = contents(path)
        ordinary = [name for name in os.listdir(path) if data is None or not is_published(path / name)]
        places = {name: path / name for name in ordinary}
        if data is not None:
            places |= {name: data / name for name in os.listdir(data)}
        for name, place in sorted(places.items()):
            if name.endswith(SUFFIXES) and not name.startswith(".") and not place.is_dir():
                yield path / name, place
        return
    path.stat()
    data = contents(path.parent)
    beside = [path.parent / name for name in DEFAULTS if path.name not in DEFAULTS]
    for file in (*(one for one in beside if one.is_file()), path):
        yield file, data / file.name if data is not None and is_published(file) else file


def _empty(path: Path) -> PolicyProblem:
    others = [name for name in os.listdir(path) if not name.startswith(".")]
    if others:
        hint = "policies end in .yaml, .yml, .yaml.gz or .yml.gz"
        return _unusable(path, "at least one *.yaml file", f"none among {len(others)}", hint)
    mounted = contents(path) is not None or os.path.ismount(path)
    hint = "is the ConfigMap there, and has it a key that ends in .yaml?" if mounted else ""
    return _unusable(path, "at least one *.yaml file", "an empty directory", hint)


def _unusable(path: Path, expected: str, got: str, hint: str = "") -> PolicyProblem:
    return PolicyProblem(str(path), 1, 1, "", expected, got.lower(), hint)


def _too_large(path: Path, got: str) -> PolicyProblem:
    expected = f"a file of at most {LARGEST_FILE_BYTES} bytes"
    return PolicyProblem(str(path), 1, 1, "", expected, got, "is it a policy at all?")
