"""Reviews as an API server sends them, in `reviews/`, and what it does with the answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonpatch

REVIEWS = Path(__file__).parent / "reviews"
NAMES = tuple(sorted(path.stem for path in REVIEWS.glob("*.json")))
SECRETS = ("key-of-nobody-4eC39HqLyjWDarjt", "correct horse battery staple")
"""Values that stand in the recorded pods' environments."""
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def recorded(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((REVIEWS / f"{name}.json").read_text())
    return document


def body_of(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def patch_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The operations of an answer; empty if it has none."""
    response = answer["response"]
    assert ("patch" in response) == (response.get("patchType") == "JSONPatch")
    operations: list[dict[str, Any]] = json.loads(base64.b64decode(response["patch"])) if "patch" in response else []
    return operations


def admitted(document: Mapping[str, Any], answer: Mapping[str, Any]) -> Any:
    """The object as the patch makes it."""
    return jsonpatch.apply_patch(document["request"]["object"], patch_of(answer))


def messages(answer: Mapping[str, Any]) -> str:
    """Whatever of an answer a person is shown."""
    response = answer["response"]
    return json.dumps([response.get("warnings"), response.get("status")])


def template_of(document: Any) -> Any:
    """The pod, or the template of one."""
    if document["kind"] == "Pod":
        return document
    spec = document["spec"]
    return spec["jobTemplate"]["spec"]["template"] if document["kind"] == "CronJob" else spec["template"]


def defaulted(document: Any) -> Any:
    """The object once the API server has filled in what was left out (core/v1)."""
    result = deepcopy(document)
    spec = template_of(result)["spec"]
    for container in [*spec.get("initContainers", ()), *spec["containers"]]:
        _default_container(container)
    for volume in spec["volumes"]:
        for kind in ("configMap", "secret", "projected"):
            if kind in volume:
                volume[kind].setdefault("defaultMode", 420)
    return result


def _default_container(container: Any) -> None:
    fill(container, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File")
    fill(container, imagePullPolicy="IfNotPresent")
    if container.get("resources"):
        policy = [{"resourceName": name, "restartPolicy": "NotRequired"} for name in ("cpu", "memory")]
        fill(container, resizePolicy=policy)
    for port in container.get("ports", ()):
        fill(port, protocol="TCP")
    for variable in container.get("env", ()):
        if "fieldRef" in variable.get("valueFrom", {}):
            fill(variable["valueFrom"]["fieldRef"], apiVersion="v1")
    for name in PROBES:
        if probe := container.get(name):
            fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            fill(probe["httpGet"], scheme="HTTP")


def fill(holder: Any, **defaults: Any) -> None:
    for key, value in defaults.items():
        holder.setdefault(key, value)


def with_tokens(pod: Any) -> Any:
    """The pod once the ServiceAccount plugin has been over it again: every container gets the API's token."""
    result = deepcopy(pod)
    for container in [*result["spec"].get("initContainers", ()), *result["spec"]["containers"]]:
        mounts = container.setdefault("volumeMounts", [])
        if all(mount["mountPath"] != TOKEN_PATH for mount in mounts):
            mounts.append({"name": "kube-api-access-x7k2p", "readOnly": True, "mountPath": TOKEN_PATH})
    return result
