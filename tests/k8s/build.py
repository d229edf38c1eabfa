"""What kustomize makes of `k8s/`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tests.real import need

Object: TypeAlias = dict[str, Any]

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
COMPONENTS = K8S / "components"
APPLICATION = Path(__file__).parent / "application"

OVERLAYS = ("dev", "staging", "prod")
RUNNABLE = ("base", *(f"overlays/{name}" for name in OVERLAYS), "example/stripe", "example/offline")
"""Kustomizations that can be applied as they are."""

TEMPLATES = {"CronJob": ("spec", "jobTemplate", "spec", "template"), "PodTemplate": ("template",)}


class NotBuilt(Exception):  # noqa: N818 - named for what happened
    """Kustomize refused. The text is what it says."""


@cache
def _built(directory: Path) -> tuple[Object, ...]:
    found = subprocess.run(
        [need("kubectl"), "kustomize", directory], capture_output=True, text=True, check=False, timeout=30
    )
    if found.returncode != 0:
        raise NotBuilt(found.stderr)
    assert not found.stderr, found.stderr
    return tuple(yaml.safe_load_all(found.stdout))


def build(path: str | Path) -> list[Object]:
    """The objects of a kustomization, by its path below `k8s/`."""
    return deepcopy(list(_built(K8S / path)))


def write(directory: Path, kustomization: Mapping[str, object], **files: Sequence[Object]) -> Path:
    """A kustomization in a directory of its own; `files` are named without their suffix."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, objects in files.items():
        (directory / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump({**head, **kustomization}))
    return directory


def to(directory: Path, target: Path) -> str:
    """A path that kustomize takes: it refuses absolute ones."""
    return os.path.relpath(target.resolve(), directory.resolve())


def pod_template(document: Object) -> Object | None:
    """Metadata and spec of the pods that a workload makes; None for other objects."""
    template: Any = document
    for key in TEMPLATES.get(document["kind"], ("spec", "template")):
        template = template.get(key) if isinstance(template, dict) else None
    return template if isinstance(template, dict) and "spec" in template else None


def pod_templates(objects: Sequence[Object]) -> Iterator[tuple[Object, Object]]:
    """Workloads, each with its pod template."""
    for document in objects:
        if (template := pod_template(document)) is not None:
            yield document, template


def containers(template: Object) -> list[Object]:
    """All of a pod, in the order in which they start."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def with_components(directory: Path, components: Sequence[str], resources: Sequence[Object] = ()) -> list[Object]:
    """The application of the tests, or other objects, with components in this order."""
    kustomization: dict[str, object] = {"components": [to(directory, COMPONENTS / name) for name in components]}
    if resources:
        write(directory, {**kustomization, "resources": ["objects.yaml"]}, objects=resources)
    else:
        write(directory, {**kustomization, "resources": [to(directory, APPLICATION)]})
    return build(directory)
