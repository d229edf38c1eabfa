"""The sidecar's own container. Pure."""

from __future__ import annotations

from typing import Any

from sidecar.kube import names
from sidecar.kube.annotations import CLASSIC, NATIVE, TRANSPARENT, PodSettings
from sidecar.kube.values import Range, secret_reference
from sidecar.kube.volumes import sidecar_mounts
from sidecar.policy.units import parse_duration
from sidecar.settings import SETTINGS

CLASSIC_DRAIN = "25s"
STARTUP_WAIT = "60s"
RESOURCE = "k8s.pod.name=$(POD_NAME),k8s.namespace.name=$(POD_NAMESPACE),k8s.node.name=$(NODE_NAME)"
GRACE = next(one for one in SETTINGS if one.variable == "SIDECAR_GRACE")


def sidecar_container(wanted: PodSettings, service: str, state: str) -> dict[str, Any]:
    """`service` is what telemetry calls it, `state` the volume for that."""
    native = wanted.form == NATIVE
    return {
        "name": names.SIDECAR,
        "image": wanted.image,
        "args": ["run"],
        **({"restartPolicy": "Always"} if native else {}),
        "ports": [{"name": names.ADMIN_PORT_NAME, "containerPort": names.ADMIN_PORT}],
        "env": _env(wanted, service),
        "resources": resources(wanted.cpu, wanted.memory),
        "volumeMounts": sidecar_mounts(wanted, state),
        # The next container starts when this probe has passed; in the classic form, when postStart has returned.
        "startupProbe": {**_probe("/startupz"), "periodSeconds": 1, "failureThreshold": 120},
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 5},
        "livenessProbe": {**_probe("/livez"), "periodSeconds": 10, "failureThreshold": 3},
        **({} if native else {"lifecycle": {"postStart": {"exec": {"command": _wait_command()}}}}),
        "securityContext": {
            "runAsUser": wanted.user,
            "runAsGroup": wanted.user,
            "runAsNonRoot": True,
            **confined(),
        },
    }


def confined(*capabilities: str) -> dict[str, Any]:
    """What every container of ours has of a security context; `capabilities` are all that it may have."""
    return {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], **({"add": list(capabilities)} if capabilities else {})},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def resources(cpu: Range, memory: Range) -> dict[str, Any]:
    limits = {name: one.limit for name, one in (("cpu", cpu), ("memory", memory)) if one.limit}
    return {"requests": {"cpu": cpu.request, "memory": memory.request}, **({"limits": limits} if limits else {})}


def drain(wanted: PodSettings) -> str:
    return wanted.drain or (CLASSIC_DRAIN if wanted.form == CLASSIC else "0s")


def end_s(wanted: PodSettings) -> float:
    """How long the sidecar may take from SIGTERM to its end, in seconds."""
    grace = dict(wanted.env).get(GRACE.variable, GRACE.default)
    return parse_duration(drain(wanted)) + parse_duration(grace) + 1


def _probe(path: str) -> dict[str, Any]:
    # By its number: where a mesh leaves a port alone, it knows it by that.
    return {"httpGet": {"path": path, "port": names.ADMIN_PORT}}


def _wait_command() -> list[str]:
    return ["sidecar", "probe", "startup", "--wait", STARTUP_WAIT]


def _env(wanted: PodSettings, service: str) -> list[dict[str, Any]]:
    further = dict(wanted.env)
    own_resource = further.pop("OTEL_RESOURCE_ATTRIBUTES", "")
    values = {
        # Brackets let an IPv6 address be one, and do no harm to IPv4.
        "SIDECAR_ADMIN": f"[$(POD_IP)]:{names.ADMIN_PORT}",
        "SIDECAR_POLICIES": ":".join(f"{names.POLICIES_DIR}/{one}" for one in wanted.policies),
        "SIDECAR_TRANSPARENT": f":{names.TRANSPARENT_PORT}" if wanted.mode == TRANSPARENT else "",
        "SIDECAR_DRAIN": drain(wanted),
        "SIDECAR_LOG_LEVEL": wanted.log_level,
        "OTEL_SERVICE_NAME": service,
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(
            filter(None, (f"{RESOURCE},k8s.container.name={names.SIDECAR}", own_resource))
        ),
    }
    values |= further
    return [
        *(
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in (
                ("POD_IP", "status.podIP"),
                ("POD_NAME", "metadata.name"),
                ("POD_NAMESPACE", "metadata.namespace"),
                ("NODE_NAME", "spec.nodeName"),
            )
        ),
        *(_variable(name, value) for name, value in values.items() if value),
    ]


def _variable(name: str, value: str) -> dict[str, Any]:
    if reference := secret_reference(value):
        secret, key = reference
        return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
    return {"name": name, "value": value}
