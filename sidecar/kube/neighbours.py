"""Others that put containers into pods, and how to live with them. Pure; docs/kubernetes/inject.md says more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.kube.names import ADMIN_PORT
from sidecar.kube.workloads import items, mapping


@dataclass(frozen=True)
class Neighbour:
    title: str
    containers: frozenset[str]
    """What its injector adds: no application's, so no variables are set there."""
    uid: int | None = None
    """Whose connections the firewall must leave alone; None where there is no proxy that must get out."""
    sign: str = ""
    """A label or annotation that asks for its injection."""
    sign_value: str = ""
    ports_annotation: str = ""
    """Where it is told which ports of the pod are not its own."""


NEIGHBOURS: Final = (
    Neighbour(
        "Istio",
        frozenset({"istio-proxy", "istio-init", "istio-validation", "enable-core-dump"}),
        1337,
        "sidecar.istio.io/inject",
        "true",
        "traffic.sidecar.istio.io/excludeInboundPorts",
    ),
    Neighbour(
        "Linkerd",
        frozenset({"linkerd-proxy", "linkerd-init", "linkerd-network-validator", "linkerd-debug"}),
        2102,
        "linkerd.io/inject",
        "enabled",
        "config.linkerd.io/skip-inbound-ports",
    ),
    Neighbour("Vault's agent", frozenset({"vault-agent", "vault-agent-init"})),
)


def neighbours_in(template: Mapping[str, Any]) -> list[Neighbour]:
    """Those whose containers are in the pod, or are asked for."""
    spec = mapping(template.get("spec"))
    there = {one.get("name") for one in items(spec.get("initContainers")) + items(spec.get("containers"))}
    said = _said(template)
    return [one for one in NEIGHBOURS if one.containers & there or (one.sign and said.get(one.sign) == one.sign_value)]


def neighbourly_advice(template: Mapping[str, Any]) -> list[str]:
    """Warnings: what a neighbour has to be told."""
    said = _said(template)
    return [
        f'{one.title} is in this pod, too: set the annotation {one.ports_annotation}: "{ADMIN_PORT}", or the '
        "kubelet's probes and Prometheus reach the sidecar through it, and are refused where it wants mTLS"
        for one in neighbours_in(template)
        if one.ports_annotation and str(ADMIN_PORT) not in str(said.get(one.ports_annotation, "")).split(",")
    ]


def _said(template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = mapping(template.get("metadata"))
    return {**mapping(metadata.get("labels")), **mapping(metadata.get("annotations"))}
