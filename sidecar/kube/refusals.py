"""What keeps a pod from having the sidecar: sentences that say what to do. Pure.

Every function looks at a template that has nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sidecar.kube import names
from sidecar.kube.annotations import CLASSIC, TRANSPARENT, PodSettings
from sidecar.kube.pod import candidates, every_container
from sidecar.kube.shape import misshapen
from sidecar.kube.values import meant
from sidecar.kube.volumes import state_volume, volumes
from sidecar.kube.workloads import Workload, items, mapping


def refusals(workload: Workload, template: Mapping[str, Any], wanted: PodSettings) -> list[str]:
    spec = mapping(template.get("spec"))
    if bad := list(misshapen(template)):
        return bad
    if not items(spec.get("containers")):
        return ["the pod template has no containers"]
    return [
        *_whole_pod(workload, spec, wanted),
        *_clashes(workload, spec, wanted),
        *_unknown_containers(spec, wanted),
        *(_same_user(spec, wanted) if wanted.mode == TRANSPARENT else ()),
    ]


def _whole_pod(workload: Workload, spec: Mapping[str, Any], wanted: PodSettings) -> Iterator[str]:
    if spec.get("hostNetwork") is True:
        yield (
            "hostNetwork: true shares the node's network, so the sidecar would listen for every pod on it"
            ' and its firewall would be the node\'s; leave hostNetwork out, or set sidecar/inject: "false"'
        )
    system = mapping(spec.get("os")).get("name") or mapping(spec.get("nodeSelector")).get("kubernetes.io/os")
    if system == "windows":
        yield 'the pod is for Windows nodes, and the sidecar is Linux only; set sidecar/inject: "false"'
    if wanted.form == CLASSIC and workload.completes:
        yield (
            "a pod that is to complete never would beside a classic sidecar, which does not end by itself;"
            " set sidecar/form: native"
        )


def _clashes(workload: Workload, spec: Mapping[str, Any], wanted: PodSettings) -> Iterator[str]:
    ports = {names.CALLS_PORT, names.ADMIN_PORT, *([names.TRANSPARENT_PORT] if wanted.mode == TRANSPARENT else [])}
    for container in every_container(spec):
        name = container.get("name")
        if name in (names.SIDECAR, names.FIREWALL):
            yield (
                f"a container is called {name} already, and no sidecar/status says that it is ours;"
                " rename it or take it out"
            )
        for port in items(container.get("ports")):
            if port.get("containerPort") in ports:
                yield (
                    f"container {name} listens on port {port['containerPort']}, which is the sidecar's;"
                    " let it listen on another"
                )
        if any(
            mount.get("mountPath", "").rstrip("/") == names.CA_DIR for mount in items(container.get("volumeMounts"))
        ):
            yield (
                f"container {name} mounts something at {names.CA_DIR}, where the certificates belong;"
                " mount it elsewhere"
            )
    taken = {volume.get("name") for volume in items(spec.get("volumes"))}
    for volume in volumes(wanted, state_volume(spec, wanted, workload.claim_templates)):
        if volume["name"] in taken:
            yield f"a volume is called {volume['name']} already, and no sidecar/status says that it is ours; rename it"


def _unknown_containers(spec: Mapping[str, Any], wanted: PodSettings) -> Iterator[str]:
    known = tuple(str(one.get("name")) for one in candidates(spec, wanted))
    for name in wanted.containers:
        if name in known:
            continue
        if name in (str(one.get("name")) for one in every_container(spec)):
            yield (
                f"sidecar/containers: {name} is an init container, and through before a classic sidecar starts;"
                " take it out"
            )
        else:
            hint = meant(name, known) or f"there {'is' if len(known) == 1 else 'are'} {', '.join(known)}"
            yield f"sidecar/containers: there is no container {name}; {hint}"


def _same_user(spec: Mapping[str, Any], wanted: PodSettings) -> Iterator[str]:
    for container in every_container(spec):
        if user_of(spec, container) == wanted.user:
            yield (
                f"container {container.get('name')} runs as user {wanted.user}, whose connections are not redirected"
                f" since the sidecar's are not; set sidecar/user to one that nobody else has, such as {wanted.user - 1}"
            )


def user_of(spec: Mapping[str, Any], container: Mapping[str, Any]) -> object:
    """Whom a container runs as, where the manifest says so; else its image does."""
    own = mapping(container.get("securityContext")).get("runAsUser")
    return mapping(spec.get("securityContext")).get("runAsUser") if own is None else own
