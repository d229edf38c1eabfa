"""The Pod Security Standard `restricted`, as rules: what a namespace that enforces it would say of a pod."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.k8s.build import Object, containers

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SECCOMP = ("RuntimeDefault", "Localhost")
HOST = ("hostNetwork", "hostPID", "hostIPC")


def breaches(template: Object) -> list[str]:
    """What the standard forbids of a pod template."""
    spec = template["spec"]
    found = [f"spec.{name}" for name in HOST if spec.get(name)]
    found += [f"volume {one['name']}" for one in spec.get("volumes", []) if not (one.keys() - {"name"}) <= VOLUMES]
    pod = spec.get("securityContext", {})
    found += [f"spec.securityContext.{name}" for name in ("sysctls", "seLinuxOptions", "windowsOptions") if name in pod]
    for container in containers(template):
        found += [f"{container['name']}: {what}" for what in _breaches(container, pod)]
    return found


def _breaches(container: Object, pod: Mapping[str, object]) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = {**pod, **own}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "capabilities.drop is not ALL"
    if set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities.add"
    if both.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if both.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if both.get("seccompProfile", {}).get("type") not in SECCOMP:
        yield "seccompProfile"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"
