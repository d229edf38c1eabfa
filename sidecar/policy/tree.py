"""A policy as a tree whose every value knows the place where it was written.

What may live here: the tree and reading from it. It comes from `load.py` and is merged by `merge.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, TypeAlias

from sidecar.policy.problem import short

Scalar: TypeAlias = str | int | float | bool | date | None
Step: TypeAlias = str | int
"""One step down: a key of a mapping or an index of a list."""
Path: TypeAlias = tuple[Step, ...]


class Place(NamedTuple):
    """Where something was written; lines and columns from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Node:
    """A value, its place, and the place of the key that it stands under (its own, when it has none)."""

    value: Scalar | dict[str, Node] | list[Node]
    place: Place
    key_place: Place

    def get(self, key: str) -> Node | None:
        """What a mapping has under a key; None when this is no mapping or has no such key."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def text(self, key: str) -> str | None:
        """The text under a key; None when there is none, or something else."""
        node = self.get(key)
        return node.value if node is not None and isinstance(node.value, str) else None

    def items(self) -> list[Node]:
        """The members of a list; none when this is no list."""
        return self.value if isinstance(self.value, list) else []

    def find(self, path: Sequence[Step]) -> tuple[Node, int]:
        """The deepest node on the way down a path, and how many steps of it were taken."""
        node = self
        for taken, step in enumerate(path):
            below = node.value
            if isinstance(below, dict) and step in below:
                node = below[str(step)]
            elif isinstance(below, list) and isinstance(step, int) and step < len(below):
                node = below[step]
            else:
                return node, taken
        return node, len(path)

    def at(self, *path: Step) -> Node | None:
        """The node at a path, if it is there."""
        node, taken = self.find(path)
        return node if taken == len(path) else None


Plain: TypeAlias = Scalar | dict[str, "Plain"] | list["Plain"]


def plain(node: Node) -> Plain:
    """The values alone."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [plain(below) for below in value]
    return value


def show_path(path: Sequence[Step]) -> str:
    """`routes[2].retry.attempts`; keys that are no words stand in brackets: `when.body["/error/code"]`."""
    shown = ""
    for step in path:
        if isinstance(step, int):
            shown += f"[{step}]"
        elif step.replace("_", "").replace("-", "").isalnum():
            shown += f".{short(step)}" if shown else short(step)
        else:
            shown += f'["{short(step)}"]'
    return shown
