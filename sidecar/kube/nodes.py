"""One YAML document as a tree that knows where each value stands in the text, and the plain data that it means.

Pure. Read by YAML's events: libyaml's composed nodes are made by C recursion, which a file of brackets overflows, and
say neither where an alias stands nor where a block ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import yaml

MOST_VALUES: Final = 2_000_000
"""Aliases of aliases can stand for more data than any machine holds."""
DEEPEST: Final = 100

_PROPERTIES: Final = re.compile(r"([&!]\S*|\s+|#[^\n]*)*")
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_OCTAL: Final = re.compile(r"0o?([0-7]+)")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]{1,16}")
_FLOAT: Final = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,3})?")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_MERGE: Final = "<<"


class TooMuch(ValueError):  # noqa: N818 - named for what happened
    """More than is read: too deep, or aliases that multiply."""


class Kind(Enum):
    SCALAR = "scalar"
    BLOCK_SCALAR = "block scalar"
    """`|` or `>`."""
    MAPPING = "mapping"
    SEQUENCE = "sequence"
    ALIAS = "alias"


@dataclass(slots=True, eq=False)
class Node:
    kind: Kind
    start: int
    """Of a block collection: behind anchor and tag."""
    end: int = 0
    """Where its own text ends: comments and blank lines behind it are not its."""
    flow: bool = False
    value: Any = None
    """A scalar's; of an alias, the node that it stands for."""
    pairs: list[tuple[Node, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)


Origins = dict[int, Node]
"""The node of each mapping and list, by its `id`."""


def read_nodes(text: str) -> Node | None:
    """The first document's root; None if there is none. Raises `yaml.YAMLError`, and `TooMuch`."""
    events: Any = yaml.parse(text, Loader=yaml.CSafeLoader)
    try:
        return _Builder(text).root(events)
    finally:
        events.close()


class Reader:
    """Makes data of nodes. An alias's data is made anew each time, so that no two containers share a list."""

    def __init__(self) -> None:
        self.origins: Origins = {}
        self._values = 0

    def data(self, node: Node) -> Any:
        """Raises `TooMuch`."""
        self._values += 1
        if self._values > MOST_VALUES:
            raise TooMuch("its aliases stand for more than is read here")
        match node.kind:
            case Kind.ALIAS:
                return self.data(node.value)
            case Kind.MAPPING:
                found: Any = self._mapping(node)
            case Kind.SEQUENCE:
                found = [self.data(one) for one in node.items]
            case _:
                return node.value
        self.origins[id(found)] = node
        return found

    def _mapping(self, node: Node) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key, value in node.pairs:
            if key.kind is Kind.SCALAR and key.value == _MERGE:
                for one in _sources(value):
                    merged = self._mapping(one) | merged
            else:
                own[key_of(key)] = self.data(value)
        return merged | own


def key_of(node: Node) -> Any:
    """What a mapping has a value under; a text that no key can be where it is no scalar."""
    return node.value if node.kind in (Kind.SCALAR, Kind.BLOCK_SCALAR) else f"\0{node.start}"


def _sources(node: Node) -> Iterator[Node]:
    """The mappings that a merge key names; the first of them wins."""
    if node.kind is Kind.ALIAS:
        yield from _sources(node.value)
    elif node.kind is Kind.SEQUENCE:
        for one in node.items:
            yield from _sources(one)
    elif node.kind is Kind.MAPPING:
        yield node


class _Builder:
    def __init__(self, text: str) -> None:
        self._text = text
        self._anchors: dict[str, Node] = {}
        self._open: list[Node] = []
        self._keys: list[Node | None] = []
        """Of each open collection, the key whose value comes next."""
        self._root: Node | None = None

    def root(self, events: Iterable[Any]) -> Node | None:
        for event in events:
            match event:
                case yaml.ScalarEvent():
                    self._add(event, self._scalar(event))
                case yaml.AliasEvent():
                    self._add(event, self._alias(event))
                case yaml.CollectionStartEvent():
                    self._start(event)
                case yaml.CollectionEndEvent():
                    self._close(event)
        return self._root

    def _scalar(self, event: Any) -> Node:
        start, end = event.start_mark.index, event.end_mark.index
        if event.style in ("|", ">"):
            return Node(Kind.BLOCK_SCALAR, start, self._block_scalar_end(start, end), value=event.value)
        plain = event.implicit[0] and not event.style and event.tag is None
        return Node(Kind.SCALAR, start, end, value=_meaning(event.value) if plain else event.value)

    def _alias(self, event: Any) -> Node:
        target = self._anchors.get(event.anchor)
        if target is None:
            raise yaml.composer.ComposerError(None, None, f"the anchor {event.anchor} is nowhere", event.start_mark)
        return Node(Kind.ALIAS, event.start_mark.index, event.end_mark.index, value=target)

    def _start(self, event: Any) -> None:
        if len(self._open) >= DEEPEST:
            raise TooMuch("it is nested too deeply")
        kind = Kind.MAPPING if isinstance(event, yaml.MappingStartEvent) else Kind.SEQUENCE
        start = event.start_mark.index
        if event.anchor or event.tag:
            found = _PROPERTIES.match(self._text, start)
            start = found.end() if found else start
        node = Node(kind, start, flow=bool(event.flow_style))
        self._add(event, node)
        self._open.append(node)
        self._keys.append(None)

    def _close(self, event: Any) -> None:
        node = self._open.pop()
        self._keys.pop()
        last = node.items[-1:] or [value for _, value in node.pairs[-1:]]
        node.end = last[0].end if last and not node.flow else event.end_mark.index

    def _add(self, event: Any, node: Node) -> None:
        if event.anchor and node.kind is not Kind.ALIAS:
            self._anchors[event.anchor] = node
        if not self._open:
            self._root = self._root or node
        elif self._open[-1].kind is Kind.SEQUENCE:
            self._open[-1].items.append(node)
        elif (key := self._keys[-1]) is None:
            self._keys[-1] = node
        else:
            self._open[-1].pairs.append((key, node))
            self._keys[-1] = None

    def _block_scalar_end(self, start: int, end: int) -> int:
        """On its last line. Blank lines at its end are its own only if it says so, by a `+`."""
        header = self._text[start:end].split("\n", 1)[0].split("#")[0]
        if "+" not in header:
            return start + len(self._text[start:end].rstrip())
        return end - 1 if self._text[end - 1 : end] == "\n" else end


def _meaning(text: str) -> Any:
    """A plain scalar's; what is a number to some readers only, such as 12:30, stays a text: it is not ours."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if found := _OCTAL.fullmatch(text):
        return int(found[1], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text, 16)
    return float(text) if _FLOAT.fullmatch(text) else text
