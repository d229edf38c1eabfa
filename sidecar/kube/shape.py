"""Whether a pod template has the form that what is put in relies on. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sidecar.kube.workloads import items, mapping


def misshapen(template: Mapping[str, Any]) -> Iterator[str]:
    """What Kubernetes would refuse, too, and we would stumble over."""
    metadata, spec = template.get("metadata"), template.get("spec")
    yield from _unless(dict, "metadata", metadata)
    yield from _unless(dict, "metadata.annotations", mapping(metadata).get("annotations"))
    yield from _unless(dict, "spec", spec)
    yield from _unless(int, "terminationGracePeriodSeconds", mapping(spec).get("terminationGracePeriodSeconds"))
    yield from _members("volumes", mapping(spec).get("volumes"))
    for key in ("initContainers", "containers"):
        yield from _members(key, mapping(spec).get(key))
        for container in items(mapping(spec).get(key)):
            for below in ("env", "volumeMounts", "ports"):
                yield from _members(
                    f"{key}: {container.get('name')}: {below}", container.get(below), nameless=below != "env"
                )


def _unless(kind: type, title: str, value: object) -> Iterator[str]:
    shown = {dict: "a mapping", list: "a list", int: "a whole number"}[kind]
    if value is not None and not isinstance(value, Mapping if kind is dict else kind):
        yield f"{title}: expected {shown}, got {type(value).__name__}; kubectl apply --dry-run=server says more"


def _members(title: str, value: object, *, nameless: bool = False) -> Iterator[str]:
    yield from _unless(list, title, value)
    if isinstance(value, list):
        for one in value:
            if not isinstance(one, Mapping) or not (nameless or isinstance(one.get("name"), str)):
                yield f"{title}: expected mappings with a name; kubectl apply --dry-run=server says more"
