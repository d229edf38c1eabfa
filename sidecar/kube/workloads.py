"""Where in a document pods are described. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sidecar.kube.annotations import PREFIX, STATUS

Document: TypeAlias = MutableMapping[str, Any]

TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""The way from a workload to its pod template. Other kinds are left alone."""
RUN_TO_COMPLETION: Final = ("Job", "CronJob")


@dataclass(frozen=True)
class Workload:
    """One object that makes pods, or is one."""

    kind: str
    document: Document
    template: Document
    """With `metadata` and `spec` of the pods."""
    outer: tuple[Mapping[str, Any], ...]
    """What has metadata around the template, outermost first."""

    @property
    def title(self) -> str:
        """As `kubectl` names it: `deployment/shop`."""
        metadata = mapping(self.document.get("metadata"))
        name = metadata.get("name") or metadata.get("generateName")
        namespace = metadata.get("namespace")
        return f"{self.kind.lower()}/{name or 'without a name'}{f' in {namespace}' if namespace else ''}"

    @property
    def annotations(self) -> dict[str, object]:
        """The template's, and what only objects around it have of ours."""
        found: dict[str, object] = {}
        for holder in self.outer:
            around = mapping(mapping(holder.get("metadata")).get("annotations"))
            found |= {name: text for name, text in around.items() if str(name).startswith(PREFIX) and name != STATUS}
        return found | dict(mapping(mapping(self.template.get("metadata")).get("annotations")))

    @property
    def claim_templates(self) -> frozenset[str]:
        """Names of the claims that a StatefulSet makes for each pod."""
        templates = items(mapping(self.document.get("spec")).get("volumeClaimTemplates"))
        return frozenset(str(mapping(one.get("metadata")).get("name")) for one in templates)

    @property
    def completes(self) -> bool:
        """Its pods are to end by themselves."""
        policy = mapping(self.template.get("spec")).get("restartPolicy", "Always")
        return self.kind in RUN_TO_COMPLETION or policy in ("Never", "OnFailure")


def mapping(value: object) -> Mapping[str, Any]:
    """The value, or nothing where there is no mapping."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """The mappings of a list, or nothing where there is no list."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def find_workloads(document: object) -> Iterator[Workload]:
    """The workloads of a document, those of a List and of Lists in it one by one."""
    if not isinstance(document, MutableMapping):
        return
    kind = document.get("kind")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            # A typed list's items need not say their kind.
            if isinstance(item, MutableMapping) and kind != "List" and "kind" not in item:
                yield from _workload(item, kind.removesuffix("List"))
            else:
                yield from find_workloads(item)
    elif isinstance(kind, str):
        yield from _workload(document, kind)


def config_maps(document: object) -> Iterator[str]:
    """Names of the ConfigMaps among a document's objects."""
    if not isinstance(document, Mapping):
        return
    if isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from config_maps(item)
    elif document.get("kind") == "ConfigMap":
        yield str(mapping(document.get("metadata")).get("name", ""))


def _workload(document: Document, kind: str) -> Iterator[Workload]:
    path = TEMPLATES.get(kind)
    if path is None:
        return
    template: Any = document
    outer: list[Mapping[str, Any]] = []
    for key in path:
        if "metadata" in template or template is document:
            outer.append(template)
        template = template.get(key)
        if not isinstance(template, MutableMapping):
            return
    yield Workload(kind, document, template, tuple(outer))
