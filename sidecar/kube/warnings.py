"""What the owner of a pod that gets the sidecar should know: sentences that say what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sidecar.kube.annotations import CLASSIC, NATIVE, TRANSPARENT, PodSettings, misspelt_prefixes
from sidecar.kube.application import advice, application_env
from sidecar.kube.container import end_s
from sidecar.kube.neighbours import neighbourly_advice
from sidecar.kube.pod import DEFAULT_GRACE_S, candidates, every_container, targets
from sidecar.kube.refusals import user_of
from sidecar.kube.workloads import Workload, mapping
from sidecar.policy.units import show_duration

SEVERAL_PODS = re.compile("DaemonSet|Deployment|ReplicaSet|ReplicationController")


def warnings(workload: Workload, template: Mapping[str, Any], wanted: PodSettings) -> list[str]:
    spec = mapping(template.get("spec"))
    variables = application_env(wanted)
    return [
        *misspelt_prefixes(workload.annotations),
        *(text for container in targets(template, wanted) for text in advice(container, variables)),
        *neighbourly_advice(template),
        *_shared(workload, spec, wanted),
        *_time(spec, wanted),
        *_idle_annotations(workload, wanted),
        *_left_out(template, wanted),
    ]


def _shared(workload: Workload, spec: Mapping[str, Any], wanted: PodSettings) -> Iterator[str]:
    if wanted.mode != TRANSPARENT:
        for container in every_container(spec):
            if user_of(spec, container) == wanted.user:
                yield (
                    f"container {container.get('name')} runs as user {wanted.user}, as the sidecar does; set"
                    " sidecar/user to a number that nobody else has, so that they stay apart"
                )
    if spec.get("shareProcessNamespace") is True:
        yield (
            "shareProcessNamespace: true lets containers that run as root see into the sidecar's process and files;"
            " leave it out where the application is not to know what the sidecar knows"
        )
    if wanted.state is not None:
        if not mapping(spec.get("securityContext")).get("fsGroup"):
            yield (
                f"the claim {wanted.state} may not be writable for user {wanted.user}; set the pod's"
                f" securityContext.fsGroup: {wanted.user}"
            )
        if _several(workload):
            yield (
                f"the claim {wanted.state} is one for all pods of the workload, and the state is one sidecar's;"
                " use a StatefulSet with volumeClaimTemplates, or sidecar/state: emptyDir"
            )


def _several(workload: Workload) -> bool:
    replicas = mapping(workload.document.get("spec")).get("replicas", 1)
    return bool(SEVERAL_PODS.fullmatch(workload.kind)) and (workload.kind == "DaemonSet" or replicas != 1)


def _time(spec: Mapping[str, Any], wanted: PodSettings) -> Iterator[str]:
    given = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S)
    if not isinstance(given, int):
        return
    needed_s = end_s(wanted)
    if wanted.form == NATIVE and given < needed_s:
        yield (
            f"terminationGracePeriodSeconds: {given} leaves the sidecar less than the {show_duration(needed_s)} that"
            " it may take to end; raise it"
        )
    if wanted.form == CLASSIC and not wanted.drain and given > max(needed_s, DEFAULT_GRACE_S):
        yield (
            f"the sidecar serves for 25s after SIGTERM, the pod may live for {given}s; set sidecar/drain to what the"
            " application takes to end"
        )


def _idle_annotations(workload: Workload, wanted: PodSettings) -> Iterator[str]:
    if wanted.mode != TRANSPARENT:
        for name in ("sidecar/exclude-ports", "sidecar/exclude-networks"):
            if name in workload.annotations:
                yield f"{name} counts only with sidecar/mode: transparent"


def _left_out(template: Mapping[str, Any], wanted: PodSettings) -> Iterator[str]:
    if wanted.mode == TRANSPARENT and wanted.containers:
        names_left = [str(one.get("name")) for one in candidates(template["spec"], wanted)]
        if left := [name for name in names_left if name not in wanted.containers]:
            yield (
                f"sidecar/containers leaves out {', '.join(left)}, but redirection is the whole pod's: their calls go"
                " through the sidecar, and they do not trust its certificates; leave sidecar/containers out"
            )
