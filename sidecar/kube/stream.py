"""A whole stream of manifests with the sidecar put in: all problems and warnings, with their places. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.kube.annotations import Defaults
from sidecar.kube.documents import BadDocument, Piece, change, split
from sidecar.kube.inject import NotInjectable, inject
from sidecar.kube.status import Unreadable, read_status
from sidecar.kube.workloads import config_maps, find_workloads, items, mapping

_BYTE_ORDER_MARK: Final = "\ufeff"


@dataclass
class Injected:
    text: str = ""
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """Places of the documents that are not as they were."""


@dataclass
class _References:
    """ConfigMaps that the stream has, and those that its sidecars name."""

    there: set[str] = field(default_factory=set)
    named: dict[str, str] = field(default_factory=dict)
    """With the first place and workload that names it."""

    def note(self, place: str, document: Any) -> None:
        self.there.update(config_maps(document))
        for workload in find_workloads(document):
            try:
                status = read_status(workload.template)
            except Unreadable:
                # Of a pod that nobody asked us to touch.
                continue
            for volume in items(mapping(workload.template.get("spec")).get("volumes")):
                name = mapping(volume.get("configMap")).get("name")
                if status and name and volume.get("name") in status.volumes:
                    self.named.setdefault(str(name), f"{place}: {workload.title}")

    def missing(self) -> Iterator[str]:
        """Where no ConfigMap is in the stream, they are applied from elsewhere, and nothing can be said."""
        if self.there:
            for name, who in self.named.items():
                if name not in self.there:
                    yield (
                        f"{who}: sidecar/policies: no ConfigMap {name} is among these manifests; there are "
                        + ", ".join(sorted(self.there))
                    )


def inject_stream(text: str, source: str, defaults: Defaults, *, asked: bool) -> Injected:
    """`asked` as `inject` has it. The text counts only if there are no problems."""
    found = Injected()
    references = _References()
    mark, text = (_BYTE_ORDER_MARK, text[1:]) if text.startswith(_BYTE_ORDER_MARK) else ("", text)
    texts = [_document(piece, found, references, defaults, asked=asked) for piece in split(text, source)]
    found.text = mark + "".join(texts)
    found.warnings += references.missing()
    return found


def _document(piece: Piece, found: Injected, references: _References, defaults: Defaults, *, asked: bool) -> str:
    def put_in(data: Any) -> None:
        if isinstance(data, dict):
            found.warnings += [f"{piece.place}: {text}" for text in inject(data, defaults, asked=asked)]
            references.note(piece.place, data)

    try:
        text, in_style = change(piece, put_in)
    except NotInjectable as error:
        found.problems += [f"{piece.place}: {problem}" for problem in error.problems]
        return piece.text
    except BadDocument as error:
        found.problems.append(str(error))
        return piece.text
    if not in_style:
        found.warnings.append(
            f"{piece.place}: its anchors or its form do not allow a change in place, so the document is written anew,"
            " without its comments"
        )
    if text != piece.text:
        found.changed.append(piece.place)
    return text
