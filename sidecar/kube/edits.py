"""A YAML document's text changed where its data was changed, and nowhere else.

Pure. Comments, quotes, order and indentation of what stays are the author's, to the byte; what was put in and is taken
out again leaves no trace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from sidecar.kube.nodes import Kind, Node, Origins, key_of
from sidecar.kube.render import Style, block, inline, is_block, under_key

_COMMENTS: Final = re.compile(r"(\s+|#[^\n]*)*")


class Unwritable(ValueError):  # noqa: N818 - named for what happened
    """The change cannot be made in this text's own style."""


class Edit(NamedTuple):
    start: int
    end: int
    text: str


class New(NamedTuple):
    """An item of a list that the text does not have."""

    value: Any


def edited(text: str, root: Node, before: Any, after: Any, origins: Origins) -> str:
    """The text with `after` for its data: `root` and `before` are of the text as it is, `origins` of what `after` was
    made from. Raises `Unwritable`.
    """
    style = style_of(text, root)
    changes = _Changes(text, style, origins)
    changes.value(root, before, after)
    last_line_ends = text.endswith("\n")
    for edit in sorted(changes.edits, key=lambda one: (one.start, one.end), reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text if last_line_ends else text.removesuffix(style.newline)


def style_of(text: str, root: Node) -> Style:
    """By the first mapping and the first list that stand in a mapping."""
    steps: dict[Kind, int] = {}
    left = [root]
    while left and len(steps) < 2:
        node = left.pop(0)
        for _, value in node.pairs:
            if (value.pairs or value.items) and not value.flow:
                steps.setdefault(value.kind, _column(text, value.start) - _column(text, node.start))
            left.append(value)
        left += node.items
    dash = steps.get(Kind.SEQUENCE, 0)
    return Style(max(steps.get(Kind.MAPPING, 2), 1), max(dash, 0), "\r\n" if "\r\n" in text else "\n")


def _column(text: str, at: int) -> int:
    return at - text.rfind("\n", 0, at) - 1


class _Changes:
    def __init__(self, text: str, style: Style, origins: Origins) -> None:
        self.edits: list[Edit] = []
        self._text = text
        self._style = style
        self._origins = origins
        self._seen: set[Node] = set()

    def value(self, node: Node, before: Any, after: Any) -> None:
        while node.kind is Kind.ALIAS:
            node = node.value
        # What an alias repeats is changed once, where it stands; whether that was right for all is seen afterwards.
        if before == after or node in self._seen:
            return
        self._seen.add(node)
        if is_block(after) and not after and not node.flow:
            raise Unwritable
        match node.kind, after:
            case Kind.MAPPING, dict():
                (self._flow_mapping if node.flow else self._block_mapping)(node, before, after)
            case Kind.SEQUENCE, list():
                self._sequence(node, before, after)
            case Kind.SCALAR, _ if not is_block(after):
                self._edit(node.start, node.end, inline(after))
            case _:
                raise Unwritable

    def _block_mapping(self, node: Node, before: Any, after: Any) -> None:
        indent = _column(self._text, node.start)
        there = set()
        for key, value in node.pairs:
            name = key_of(key)
            there.add(name)
            if name in after and name in before:
                self._block_value(key, value, before[name], after[name], indent)
            elif name in before:
                self._edit(self._line_start(key.start), self._next_line(value.end), "")
        # What a merge key gave and was changed is written out: the mapping's own keys win.
        new = {name: below for name, below in after.items() if name not in there and before.get(name, self) != below}
        self._insert(self._next_line(node.end), block(new, indent, self._style))

    def _block_value(self, key: Node, value: Node, before: Any, after: Any, indent: int) -> None:
        emptied = is_block(after) and not after and not value.flow
        if before != after and (before is None or after is None or emptied):
            lines = under_key(after, indent, self._style)
            self._edit(key.end, value.end, ":" + self._style.newline.join(lines))
        else:
            self.value(value, before, after)

    def _flow_mapping(self, node: Node, before: Any, after: Any) -> None:
        names = [key_of(key) for key, _ in node.pairs]
        for name, (key, value) in zip(names, node.pairs, strict=True):
            if name in after and before[name] != after[name]:
                if before[name] is None or after[name] is None:
                    self._edit(key.end, value.end, f": {inline(after[name])}")
                else:
                    self.value(value, before[name], after[name])
        kept = [index for index, name in enumerate(names) if name in after]
        new = [f"{inline(name)}: {inline(below)}" for name, below in after.items() if name not in names]
        self._flow(node, [(key.start, value.end) for key, value in node.pairs], [*kept, *new])

    def _sequence(self, node: Node, before: list[Any], after: list[Any]) -> None:
        plan = self._matched(node, before, after)
        kept = [one for one in plan if isinstance(one, int)]
        if kept != sorted(kept):
            raise Unwritable
        for index, item in zip(plan, after, strict=True):
            if isinstance(index, int):
                self.value(node.items[index], before[index], item)
        if node.flow:
            spans = [(item.start, item.end) for item in node.items]
            self._flow(node, spans, [one if isinstance(one, int) else inline(one.value) for one in plan])
        else:
            self._block_sequence(node, plan)

    def _matched(self, node: Node, before: list[Any], after: list[Any]) -> list[int | New]:
        """For each item of `after`, its index in the text, if it is there."""
        left = dict(enumerate(node.items))
        plan: list[int | New] = []
        for item in after:
            origin = self._origins.get(id(item))
            same = (index for index, one in left.items() if one is origin or before[index] == item)
            index = next(same, None)
            if index is None:
                plan.append(New(item))
            else:
                plan.append(index)
                del left[index]
        return plan

    def _block_sequence(self, node: Node, plan: Sequence[int | New]) -> None:
        if all(isinstance(one, int) for one in plan) and len(plan) == len(node.items):
            return
        dashes = self._dashes(node)
        ends = [self._next_line(item.end) for item in node.items]
        for index in set(range(len(node.items))).difference(one for one in plan if isinstance(one, int)):
            self._edit(self._line_start(dashes[index]), ends[index], "")
        place = -1
        for one in plan:
            if isinstance(one, int):
                place = ends[one]
            else:
                place = self._above(self._line_start(dashes[0])) if place < 0 else place
                self._insert(place, block([one.value], _column(self._text, node.start), self._style))

    def _dashes(self, node: Node) -> list[int]:
        """Each item's; only blanks and comments stand before one."""
        found: list[int] = []
        at = node.start
        for item in node.items:
            skipped = _COMMENTS.match(self._text, at)
            at = skipped.end() if skipped else at
            if self._text[at : at + 1] != "-":
                raise Unwritable
            found.append(at)
            at = item.end
        return found

    def _flow(self, node: Node, spans: Sequence[tuple[int, int]], plan: Sequence[int | str]) -> None:
        """A flow collection's members: an index is one that stays, a text is new."""
        stays = [index for index, one in enumerate(plan) if isinstance(one, int)]
        if not spans:
            self._edit(node.start + 1, node.start + 1, ", ".join(map(str, plan)))
        elif not stays:
            self._edit(spans[0][0], spans[-1][1], ", ".join(map(str, plan)))
        else:
            first, last = stays[0], stays[-1]
            self._edit(spans[0][0], spans[int(plan[first])][0], "".join(f"{one}, " for one in plan[:first]))
            self._edit(spans[int(plan[last])][1], spans[-1][1], "".join(f", {one}" for one in plan[last + 1 :]))
            for one, other in pairwise(stays):
                if other - one > 1 or int(plan[other]) - int(plan[one]) > 1:
                    new = "".join(f"{one}, " for one in plan[one + 1 : other])
                    self._edit(spans[int(plan[one])][1], spans[int(plan[other])][0], f", {new}")

    def _edit(self, start: int, end: int, text: str) -> None:
        if start != end or text:
            self.edits.append(Edit(start, end, text))

    def _insert(self, at: int, lines: Iterable[str]) -> None:
        """Behind what was inserted there before: what stands deeper comes first."""
        text = "".join(f"{line}{self._style.newline}" for line in lines)
        if not text:
            return
        earlier = [one for one in self.edits if one.start == one.end == at]
        if at and self._text[at - 1] != "\n" and not earlier:
            # The last line of the document has no end.
            text = self._style.newline + text
        self.edits = [one for one in self.edits if one not in earlier]
        self._edit(at, at, "".join(one.text for one in earlier) + text)

    def _line_start(self, at: int) -> int:
        """Raises `Unwritable` where something else stands before it on its line."""
        start = self._text.rfind("\n", 0, at) + 1
        if self._text[start:at].strip(" "):
            raise Unwritable
        return start

    def _next_line(self, at: int) -> int:
        end = self._text.find("\n", at)
        return len(self._text) if end < 0 else end + 1

    def _above(self, at: int) -> int:
        """The start of the comment lines right above a line."""
        while at:
            start = self._text.rfind("\n", 0, at - 1) + 1
            if not self._text[start:at].lstrip().startswith("#"):
                break
            at = start
        return at
