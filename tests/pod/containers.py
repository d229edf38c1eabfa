"""One container of a Pod's manifest, in podman's words."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.pod.podman import inspect, mark, podman
from tests.pod.volumes import Document, Objects, Volumes, size_bytes
from tests.real import need

_REFERENCE = re.compile(r"\$(\$)?\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


class NotStarted(Exception):  # noqa: N818 - named for what happened
    """What the kubelet would say of a container that it does not start."""


@dataclass(frozen=True)
class Place:
    """Where a Pod's containers live."""

    pod: str
    address: str
    metadata: Document
    spec: Document
    objects: Objects
    volumes: Volumes


def create(container: Document, place: Place, name: str) -> None:
    """Make the container without starting it."""
    words = [*mark(), "--pod", place.pod, "--name", name, "--image-volume=ignore", "--no-healthcheck"]
    for key, value in environment(container, place).items():
        words += ["--env", f"{key}={value}"]
    for mount in container.get("volumeMounts", []):
        words += ["--volume", _volume(mount, place.volumes)]
    words += _security(container, place.spec)
    words += _resources(container.get("resources", {}))
    if command := container.get("command"):
        words += ["--entrypoint", json.dumps([*command])]
    if folder := container.get("workingDir"):
        words += ["--workdir", folder]
    variables = environment(container, place)
    podman("create", *words, container["image"], *(expand(word, variables) for word in container.get("args", [])))


def environment(container: Document, place: Place) -> dict[str, str]:
    """Each value with what it refers to, by name among those before it, or in the Pod."""
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        kind, reference = (
            ("Secret", source["secretRef"]) if "secretRef" in source else ("ConfigMap", source["configMapRef"])
        )
        found = place.objects.find(kind, reference["name"], optional=reference.get("optional", False)) or {}
        variables |= {source.get("prefix", "") + key: value.decode() for key, value in found.items()}
    for entry in container.get("env", []):
        if (origin := entry.get("valueFrom")) is not None:
            value = _referred(origin, container, place)
        else:
            value = expand(entry.get("value", ""), variables)
        if value is not None:
            variables[entry["name"]] = value
    return variables


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` where it is known; `$$(NAME)` is the text `$(NAME)`."""

    def one(found: re.Match[str]) -> str:
        return found[0][1:] if found[1] else variables.get(found[2], found[0])

    return _REFERENCE.sub(one, text)


def _referred(origin: Document, container: Document, place: Place) -> str | None:
    if field := origin.get("fieldRef"):
        return _field(field["fieldPath"], place)
    if field := origin.get("resourceFieldRef"):
        kind, _, what = field["resource"].partition(".")
        return str(size_bytes(container["resources"][kind][what]))
    kind = "Secret" if "secretKeyRef" in origin else "ConfigMap"
    reference = origin["secretKeyRef" if kind == "Secret" else "configMapKeyRef"]
    optional = reference.get("optional", False)
    value = (place.objects.find(kind, reference["name"], optional=optional) or {}).get(reference["key"])
    if value is None and not optional:
        raise NotStarted(f"couldn't find key {reference['key']} in {kind} {reference['name']}")
    return None if value is None else value.decode()


def _field(path: str, place: Place) -> str:
    if keyed := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str(place.metadata.get(keyed[1], {}).get(keyed[2], ""))
    known = {
        "metadata.name": place.metadata["name"],
        "metadata.namespace": place.metadata.get("namespace", "default"),
        "metadata.uid": "00000000-0000-4000-8000-000000000000",
        "spec.nodeName": "node-1",
        "spec.serviceAccountName": "default",
        "status.podIP": place.address,
        "status.podIPs": place.address,
        "status.hostIP": place.address.rpartition(".")[0] + ".1",
    }
    return str(known[path])


def _volume(mount: Document, volumes: Volumes) -> str:
    source = volumes.path(mount["name"])
    if part := mount.get("subPath"):
        # The file that is there now: what comes later by way of the link is never seen.
        source = (source / part).resolve()
    return f"{source}:{mount['mountPath']}:{'ro' if mount.get('readOnly') else 'rw'}"


def _security(container: Document, spec: Document) -> list[str]:
    pod = spec.get("securityContext", {})
    context = {**pod, **container.get("securityContext", {})}
    image = json.loads(podman("image", "inspect", container["image"]))[0]["Config"].get("User", "")
    user = str(context.get("runAsUser", image.partition(":")[0] or 0))
    if context.get("runAsNonRoot"):
        if not user.isdigit():
            raise NotStarted(f"container has runAsNonRoot and image has non-numeric user ({user})")
        if user == "0":
            raise NotStarted("container has runAsNonRoot and image will run as root")
    # Without a group of its own a user gets the image's, or root's.
    group = context.get("runAsGroup", image.partition(":")[2] if "runAsUser" not in context else 0) or 0
    words = ["--user", f"{user}:{group}"]
    for extra in (*pod.get("supplementalGroups", ()), *((pod["fsGroup"],) if "fsGroup" in pod else ())):
        words += ["--group-add", str(extra)]
    if context.get("readOnlyRootFilesystem"):
        # podman would lay writable directories over it, Kubernetes does not.
        words += ["--read-only", "--read-only-tmpfs=false"]
    if context.get("allowPrivilegeEscalation") is False:
        words += ["--security-opt", "no-new-privileges"]
    for capability in context.get("capabilities", {}).get("drop", ()):
        words += ["--cap-drop", capability]
    for capability in context.get("capabilities", {}).get("add", ()):
        words += ["--cap-add", capability]
    if context.get("seccompProfile", {}).get("type") == "Unconfined":
        words += ["--security-opt", "seccomp=unconfined"]
    return words


def _resources(resources: Document) -> list[str]:
    words: list[str] = []
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    if memory := limits.get("memory"):
        words += ["--memory", f"{size_bytes(str(memory))}b"]
    if cpu := limits.get("cpu"):
        words += ["--cpus", str(cores(str(cpu)))]
    if cpu := requests.get("cpu"):
        words += ["--cpu-shares", str(max(2, round(1024 * cores(str(cpu)))))]
    return words


def cores(quantity: str) -> float:
    """A Kubernetes quantity of CPU."""
    return float(quantity.removesuffix("m")) / (1000 if quantity.endswith("m") else 1)


def pid_of(name: str) -> int:
    """The container's first process, as this machine numbers it; 0 where it runs no more."""
    return int(inspect(name)["State"]["Pid"])


def status_of(pid: int) -> dict[str, str]:
    """What the kernel says of a process: its uid, capabilities, seccomp mode."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def execute(pid: int, *command: str, user: int | None = None) -> str:
    """What a further process in the container of that one prints, as `kubectl exec` would have it. `podman exec` wants
    rights over resource limits that a machine may not have."""
    status = status_of(pid)
    uid, gid = (status["Uid"].split()[0], status["Gid"].split()[0]) if user is None else (str(user), str(user))
    inside = [f"--target={pid}", "--mount", "--net", "--ipc", "--uts", "--pid", "--cgroup", "--root", "--wd=/"]
    # The container's own variables and no others; `env` is its own, too.
    variables = Path(f"/proc/{pid}/environ").read_text().rstrip("\0").split("\0")
    words = [need("nsenter"), *inside, f"--setuid={uid}", f"--setgid={gid}", "--", "env", "-i", *variables, *command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, errors="replace")
    if done.returncode:
        raise RuntimeError(f"{command}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
