"""The init container that redirects the pod's connections. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sidecar.kube import names
from sidecar.kube.annotations import PodSettings
from sidecar.kube.container import confined, resources
from sidecar.kube.values import Range


def firewall_container(wanted: PodSettings, straight_uids: Iterable[int]) -> dict[str, Any]:
    """`straight_uids`: users besides the sidecar's whose connections are left alone, as other proxies' are."""
    uids = ",".join(map(str, dict.fromkeys((wanted.user, *straight_uids))))
    spared = (("--exclude", wanted.exclude_networks), ("--exclude-port", wanted.exclude_ports))
    return {
        "name": names.FIREWALL,
        "image": wanted.image,
        "args": ["firewall", "up", "--uid", uids, *(word for pair in spared if pair[1] for word in pair)],
        "env": [{"name": "SIDECAR_TRANSPARENT", "value": f":{names.TRANSPARENT_PORT}"}],
        "resources": resources(Range("10m"), Range("32Mi", "128Mi")),
        # Root is needed for the capability to be in force; nft needs no other.
        "securityContext": {"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False, **confined("NET_ADMIN")},
    }
