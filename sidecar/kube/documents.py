"""A stream of manifests, YAML or JSON: its documents one by one, and each as it was where nothing is changed.

Pure: texts in, texts out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from sidecar.kube.edits import Unwritable, edited, style_of
from sidecar.kube.nodes import Node, Reader, TooMuch, read_nodes
from sidecar.kube.render import block
from sidecar.kube.workloads import TEMPLATES

Change: TypeAlias = Callable[[Any], object]
"""Changes a document's data in place."""

_MARKER: Final = re.compile(r"^(---|\.\.\.)(?=\s|\Z)", re.MULTILINE)
_DIRECTIVES: Final = re.compile(r"(\s*(#[^\n]*)?(\n|\Z))*%[^\n]*\n(\s*([#%][^\n]*)?(\n|\Z))*")
_OF_INTEREST: Final = re.compile(
    rf"""\bkind["']?\s*:\s*(!!str\s+)?(&\S+\s+)?["']?({"|".join(TEMPLATES)}|ConfigMap|[A-Za-z]*List)\b"""
)
_SMALL_CHARS: Final = 1 << 18
_JSON_INDENT: Final = re.compile(r'[{\[]\r?\n([ \t]+)["{\[]')


class BadDocument(ValueError):  # noqa: N818 - named for what happened
    """The text is no YAML. The message is one line, with the place; lines and columns from 1."""


@dataclass(frozen=True)
class Piece:
    """A document's own text in a stream, its marker included."""

    source: str
    line: int
    """Of its beginning in the stream, from 0."""
    text: str

    @property
    def place(self) -> str:
        """Where its first line with anything on it stands."""
        lines = self.text.split("\n")
        blank = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith(("---", "#", "%"))), 0)
        return f"{self.source}:{self.line + blank + 1}"


def split(text: str, source: str) -> Iterator[Piece]:
    """The documents of a stream; their texts together are the stream.

    A line that begins with `---` or `...` ends a document wherever it stands, in block scalars, too (YAML 9.1.2).
    """
    start = line = 0
    for marker in _MARKER.finditer(text):
        piece = text[start : marker.start()]
        if marker[0] == "---" and (not piece or _DIRECTIVES.fullmatch(piece)):
            continue
        end = marker.start()
        if marker[0] == "...":
            newline = text.find("\n", marker.end())
            end = len(text) if newline < 0 else newline + 1
        if end > start:
            yield Piece(source, line, text[start:end])
        line += text.count("\n", start, end)
        start = end
    if start < len(text):
        yield Piece(source, line, text[start:])


def change(piece: Piece, how: Change) -> tuple[str, bool]:
    """A document's text after a change of its data, and whether its style was kept. Raises `BadDocument`, and what
    `how` does.
    """
    if not _OF_INTEREST.search(piece.text):
        _only_check(piece)
        return piece.text, True
    if piece.text.lstrip()[:1] == "{" and (found := _json(piece.text)) is not None:
        before = json.dumps(found)
        how(found)
        return (piece.text if json.dumps(found) == before else _as_json(found, piece.text)), True
    return _change_yaml(piece, how)


def load(piece: Piece) -> Any:
    """A document's data; None where there is nothing. Raises `BadDocument`."""
    root = _read(piece)
    return None if root is None else Reader().data(root)


def _change_yaml(piece: Piece, how: Change) -> tuple[str, bool]:
    root = _read(piece)
    if root is None:
        return piece.text, True
    reader = Reader()
    try:
        before, after = Reader().data(root), reader.data(root)
    except TooMuch as error:
        raise BadDocument(f"{piece.place}: {error}") from None
    how(after)
    if before == after:
        return piece.text, True
    try:
        text = edited(piece.text, root, before, after, reader.origins)
        if load(Piece(piece.source, piece.line, text)) == after:
            return text, True
    except (Unwritable, BadDocument):
        pass
    return _anew(piece.text, root, after), False


def _read(piece: Piece) -> Node | None:
    try:
        return read_nodes(piece.text)
    except yaml.YAMLError as error:
        raise _bad(piece, error) from None
    except TooMuch as error:
        raise BadDocument(f"{piece.place}: {error}") from None


def _only_check(piece: Piece) -> None:
    """Nothing of ours is in there. What is large, such as resource definitions, is not worth the seconds."""
    if len(piece.text) > _SMALL_CHARS:
        return
    try:
        for _ in yaml.parse(piece.text, Loader=yaml.CSafeLoader):
            pass
    except yaml.YAMLError as error:
        raise _bad(piece, error) from None


def _bad(piece: Piece, error: yaml.YAMLError) -> BadDocument:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        position = getattr(error, "position", 0)
        before = piece.text[:position]
        line, column = before.count("\n"), position - before.rfind("\n") - 1
        return BadDocument(f"{piece.source}:{piece.line + line + 1}:{column + 1}: no YAML: a character that it forbids")
    why = str(getattr(error, "problem", "") or "it cannot be read")
    lines = piece.text.split("\n")
    hint = "; render the template first" if "{{" in "".join(lines[max(0, mark.line - 1) : mark.line + 1]) else ""
    return BadDocument(f"{piece.source}:{piece.line + mark.line + 1}:{mark.column + 1}: no YAML: {why}{hint}")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _as_json(data: Any, text: str) -> str:
    """As the text was indented; what stood around it stays."""
    found = _JSON_INDENT.search(text)
    separators = None if found or '": ' in text else (",", ":")
    dumped = json.dumps(data, indent=found[1] if found else None, separators=separators, ensure_ascii=text.isascii())
    body = text.strip()
    start = text.index(body)
    return text[:start] + dumped + text[start + len(body) :]


def _anew(text: str, root: Node, data: Any) -> str:
    style = style_of(text, root)
    marker = f"---{style.newline}" if re.match(r"---(\s|\Z)", text) else ""
    return marker + "".join(f"{line}{style.newline}" for line in block(data, 0, style))
