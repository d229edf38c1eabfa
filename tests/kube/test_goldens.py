"""Manifests of every kind, mode and form: as they were looked at, as Kubernetes takes them, and back to the byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sidecar.kube.annotations import Defaults
from sidecar.kube.documents import BadDocument, change, load, split
from sidecar.kube.stream import inject_stream
from sidecar.kube.workloads import find_workloads
from tests.kube.goldens import HERE, MANIFESTS, golden, injected

OLDEST_NATIVE = "1.29"
OLDEST_CLASSIC = "1.25"
NEWEST = kubernetes_validate.latest_version()

by_name = pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)


def objects(text: str) -> list[Any]:
    documents = [load(piece) for piece in split(text, "golden")]
    return [one for document in documents if document for one in document.get("items", [document])]


@by_name
def test_it_is_what_was_looked_at(manifest: Path) -> None:
    assert injected(manifest).text == golden(manifest).read_text(), "python -m tests.kube.goldens --write makes it anew"


def test_there_is_no_golden_of_nothing() -> None:
    assert {path.name for path in (HERE / "golden").iterdir()} == {path.name for path in MANIFESTS}


@by_name
def test_kubernetes_takes_it(manifest: Path) -> None:
    oldest = OLDEST_CLASSIC if "classic" in manifest.name else OLDEST_NATIVE
    found = objects(golden(manifest).read_text())
    assert found
    for version in (oldest, NEWEST):
        for one in found:
            kubernetes_validate.validate(one, version, strict=True)


@by_name
def test_twice_is_once(manifest: Path) -> None:
    once = golden(manifest).read_text()
    again = inject_stream(once, "golden", Defaults(image="sidecar:dev"), asked=True)
    assert (again.text, again.changed) == (once, [])


@by_name
def test_out_again_every_byte_is_as_it_was(manifest: Path) -> None:
    out = inject_stream(changed(golden(manifest).read_text(), say_no), "golden", Defaults(), asked=True)
    assert out.problems == []
    assert changed(out.text, take_back) == manifest.read_text()


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([path for path in MANIFESTS if path.suffix == ".yaml"]), st.randoms(use_true_random=False))
def test_so_it_is_wherever_there_are_comments_and_blanks(manifest: Path, random: Random) -> None:
    text = strewn(manifest.read_text(), random)
    assume(reads_as(text, objects(manifest.read_text())))
    once = inject_stream(text, "strewn", Defaults(), asked=True)
    assert (once.problems, inject_stream(once.text, "strewn", Defaults(), asked=True).text) == ([], once.text)
    out = inject_stream(changed(once.text, say_no), "strewn", Defaults(), asked=True)
    assert changed(out.text, take_back) == text


def reads_as(text: str, expected: list[Any]) -> bool:
    try:
        return objects(text) == expected
    except BadDocument:
        return False


def strewn(text: str, random: Random) -> str:
    """The manifest with comments where they may stand, and where they may change what is read."""
    lines: list[str] = []
    for line in text.splitlines():
        if random.random() < 0.15:
            lines.append(" " * random.randrange(0, 14, 2) + random.choice(["# note", "", "# - name: x", "# a: b"]))
        end = random.choice(["  # end", " ", " # - x: y"]) if line and "#" not in line and random.random() < 0.1 else ""
        lines.append(line + end)
    return random.choice(["\n", "\r\n"]).join(lines) + random.choice(["", "\n"])


def changed(text: str, how: Callable[[Any], None]) -> str:
    return "".join(change(piece, how)[0] for piece in split(text, "golden"))


def say_no(document: Any) -> None:
    """In the workload's own metadata, which has no answer yet."""
    for workload in find_workloads(document):
        annotations = workload.document["metadata"].setdefault("annotations", {})
        if "sidecar/inject" not in annotations:
            annotations |= {"sidecar/inject": "false", "test": "no"}


def take_back(document: Any) -> None:
    for workload in find_workloads(document):
        annotations = workload.document["metadata"].get("annotations", {})
        if annotations.pop("test", None):
            del annotations["sidecar/inject"]
            if not annotations:
                del workload.document["metadata"]["annotations"]
