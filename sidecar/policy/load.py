"""From the bytes of one file to a tree with places, by YAML's events: no tags, no merge keys, no surprises.

What may live here: reading YAML. What keys mean is `model.py`'s, what is wrong with them `check.py`'s.
Events, not libyaml's composed nodes: those are made by C recursion, which a file of brackets overflows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

import yaml

from sidecar.policy.files import read_policy
from sidecar.policy.problem import PolicyProblem, short, show
from sidecar.policy.tree import Node, Place, Scalar, show_path
from sidecar.policy.tree import Path as Keys

MOST_NODES = 200_000
"""Values in one file, aliases expanded: the bound on what a few lines of anchors may unfold to."""
DEEPEST = 20
"""Levels of nesting, aliases expanded."""

_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]+([eE][-+]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}

_YAML_HINTS = {
    "cannot start any token": "indent with spaces, and quote texts that begin with @, `, % or a tab",
    "mapping values are not allowed": "indent it as its neighbours are, or quote a text that contains a colon",
    "did not find expected key": "look at the indentation, and for a missing quote or bracket above",
    "unexpected end of stream": "is the file complete?",
}


@dataclass(frozen=True, slots=True)
class Document:
    """One file as it was read."""

    path: Path
    digest: str
    """SHA-256 of its bytes, hex; empty when it could not be read."""
    root: Node | None
    """None when there is a problem."""
    problems: tuple[PolicyProblem, ...] = ()


def load_document(path: Path) -> Document:
    """Read one file. What is wrong with it as a file or as YAML is in `problems`."""
    data = read_policy(path)
    if isinstance(data, PolicyProblem):
        return Document(path, "", None, (data,))
    return parse_document(path, data)


def parse_document(path: Path, data: bytes) -> Document:
    """Read the bytes of one file."""
    digest = hashlib.sha256(data).hexdigest()
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        problem = PolicyProblem(str(path), line, column, "", "UTF-8", f"the byte 0x{data[error.start]:02x}")
        return Document(path, digest, None, (problem,))
    reader = _Reader(str(path))
    root = reader.read(data)
    return Document(path, digest, None if reader.problems else root, tuple(reader.problems))


Events: TypeAlias = Generator[Any, None, None]
"""Of yaml.Event; libyaml's C types are not those of the annotations."""


class _Anchor(NamedTuple):
    node: Node
    nodes: int
    height: int


class _Stop(Exception):  # noqa: N818 - not an error: the problem has been recorded
    """Reading further makes no sense."""


@dataclass(slots=True)
class _Reader:
    file: str
    problems: list[PolicyProblem] = field(default_factory=list)
    anchors: dict[str, _Anchor] = field(default_factory=dict)
    nodes: int = 0
    height: int = 0
    """Levels below the node that was read last."""

    def read(self, data: bytes) -> Node | None:
        events: Events = yaml.parse(data, Loader=yaml.CSafeLoader)  # type: ignore[assignment]
        try:
            return self._document(events)
        except yaml.YAMLError as error:
            self._syntax(error)
        except _Stop:
            pass
        finally:
            events.close()
        return None

    def _document(self, events: Events) -> Node | None:
        root = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                hint = "a policy is one document: leave --- out"
                self._stop(self._place(event), (), "one document", "a second one", hint)
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, self._place(event), ())
        if root is not None and isinstance(root.value, dict):
            return root
        got = show(root.value) if root is not None else "nothing"
        self.problems.append(PolicyProblem(self.file, 1, 1, "", "a mapping of keys to values", got))
        return None

    def _node(self, event: Any, events: Events, key_place: Place, path: Keys) -> Node:
        place = self._place(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, key_place, path)
        self._count(1, len(path), place, path)
        if event.tag is not None:
            self._add(place, path, "a plain value", f"the tag {short(event.tag)}", "leave the tag out")
        before = self.nodes
        if isinstance(event, yaml.MappingStartEvent):
            node = Node(self._mapping(events, path), place, key_place)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Node(self._sequence(events, path), place, key_place)
        else:
            self.height = 0
            node = Node(self._scalar(event, place, path), place, key_place)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchor(node, self.nodes - before + 1, self.height)
        return node

    def _alias(self, event: Any, key_place: Place, path: Keys) -> Node:
        known = self.anchors.get(event.anchor)
        if known is None:
            hint = "anchors come before their aliases; quote a text that begins with *"
            self._stop(self._place(event), path, "an anchor of that name", f"*{short(event.anchor)}", hint)
        self._count(known.nodes, len(path) + known.height, self._place(event), path)
        self.height = known.height
        return Node(known.node.value, known.node.place, key_place)

    def _mapping(self, events: Events, path: Keys) -> dict[str, Node]:
        found: dict[str, Node] = {}
        height = 0
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            place = self._place(event)
            if not isinstance(event, yaml.ScalarEvent):
                self._stop(place, path, "a word as the key", "something else")
            key = event.value
            below = (*path, key)
            if key in found:
                hint = f"it stands in line {found[key].key_place.line} already"
                self._add(place, below, "each key once", "it a second time", hint)
            found[key] = self._node(next(events), events, place, below)
            height = max(height, self.height + 1)
        self.height = height
        return found

    def _sequence(self, events: Events, path: Keys) -> list[Node]:
        found: list[Node] = []
        height = 0
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            found.append(self._node(event, events, self._place(event), (*path, len(found))))
            height = max(height, self.height + 1)
        self.height = height
        return found

    def _scalar(self, event: Any, place: Place, path: Keys) -> Scalar:
        if not event.implicit[0]:
            return str(event.value)
        value = scalar(event.value)
        # In a JSON document, null is a value like any other.
        if value is None and not (event.value and "json" in path):
            self._add(place, path, "a value", "nothing", "leave the key out, or write off to switch a step off")
        return value

    def _count(self, nodes: int, depth: int, place: Place, path: Keys) -> None:
        self.nodes += nodes
        if self.nodes > MOST_NODES:
            self._stop(place, path[:1], f"at most {MOST_NODES} values", "more", "aliases count as what they stand for")
        if depth > DEEPEST:
            self._stop(place, path[:1], f"at most {DEEPEST} levels", "more")

    def _place(self, event: Any) -> Place:
        mark = event.start_mark
        return Place(self.file, mark.line + 1, mark.column + 1)

    def _add(self, place: Place, path: Keys, expected: str, got: str, hint: str = "") -> None:
        self.problems.append(PolicyProblem(*place, show_path(path), expected, got, hint))

    def _stop(self, place: Place, path: Keys, expected: str, got: str, hint: str = "") -> NoReturn:
        self._add(place, path, expected, got, hint)
        raise _Stop

    def _syntax(self, error: yaml.YAMLError) -> None:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        said = getattr(error, "problem", None) or getattr(error, "reason", None) or "an error"
        said = f"{said} {getattr(error, 'context', None) or ''}".strip()
        hint = next((hint for part, hint in _YAML_HINTS.items() if part in said), "")
        self.problems.append(PolicyProblem(self.file, line, column, "", "YAML", f"an error: {short(said)}", hint))


def scalar(text: str) -> Scalar:
    """An unquoted scalar without YAML's traps: `010`, `1:30`, `0x1f` and `1_000` stay the texts they look like."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _DATE.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            return text
    return text
