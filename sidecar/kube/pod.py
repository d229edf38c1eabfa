"""A pod template with the sidecar put in, or taken out again. Pure, and in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from sidecar.kube import names
from sidecar.kube.annotations import CLASSIC, NATIVE, STATUS, TRANSPARENT, PodSettings
from sidecar.kube.application import application_env, kept
from sidecar.kube.container import end_s, sidecar_container
from sidecar.kube.firewall import firewall_container
from sidecar.kube.neighbours import neighbours_in
from sidecar.kube.status import Status, digest_of, read_status, write_status
from sidecar.kube.volumes import application_mount, state_volume, volumes
from sidecar.kube.workloads import Document, items

GRACE: Final = "terminationGracePeriodSeconds"
CONTAINER: Final = "container/"
"""Before a container's name in the record's ways, so that it may be called as it likes."""
DEFAULT_GRACE_S: Final = 30
"""Kubernetes' own `terminationGracePeriodSeconds`."""


def put_in(template: Document, wanted: PodSettings, service: str, claim_templates: Collection[str] = ()) -> None:
    """Add everything to a template that has nothing of ours, and record it. What was checked is not checked again."""
    status = Status(digest_of(wanted))
    spec = template["spec"]
    for container in targets(template, wanted):
        _lead(container, application_env(wanted), status)
    state = state_volume(spec, wanted, claim_templates)
    _add_containers(template, wanted, sidecar_container(wanted, service, state), status)
    added = volumes(wanted, state)
    _list(spec, "volumes", "spec/volumes", status).extend(added)
    status.volumes = [volume["name"] for volume in added]
    _allow_time(spec, wanted, status)
    _mapping(_mapping(template, "metadata", "metadata", status), "annotations", "metadata/annotations", status)
    write_status(template, status)


def take_out(template: Document) -> None:
    """Remove what an earlier `put_in` has added, and nothing else. Raises `Unreadable`."""
    status = read_status(template)
    if status is None:
        return
    spec = template["spec"]
    for key in ("initContainers", "containers"):
        _remove(spec, key, lambda one: one.get("name") in status.containers)
    _remove(spec, "volumes", lambda one: one.get("name") in status.volumes)
    for container in every_container(spec):
        _let_go(container, status)
    if status.grace and spec.get(GRACE) == status.grace[1]:
        _restore(spec, GRACE, status.grace[0], null=f"spec/{GRACE}" in status.null)
    del template["metadata"]["annotations"][STATUS]
    for path in reversed(status.made + status.null):
        _unmake(template, path, null=path in status.null)


def every_container(spec: Mapping[str, Any]) -> list[Any]:
    return items(spec.get("initContainers")) + items(spec.get("containers"))


def candidates(spec: Mapping[str, Any], wanted: PodSettings) -> list[Any]:
    """Containers that run while the sidecar does: in the classic form, init containers are through before."""
    return every_container(spec) if wanted.form == NATIVE else items(spec.get("containers"))


def targets(template: Mapping[str, Any], wanted: PodSettings) -> list[Any]:
    """The containers whose calls go through the sidecar: those that are named, or all but other injectors' own."""
    found = candidates(template["spec"], wanted)
    if wanted.containers:
        return [one for one in found if one.get("name") in wanted.containers]
    foreign = {name for neighbour in neighbours_in(template) for name in neighbour.containers}
    return [one for one in found if one.get("name") not in foreign]


def _lead(container: Document, variables: Mapping[str, str], status: Status) -> None:
    name = str(container["name"])
    stays = set(kept(container, variables))
    added = {variable: value for variable, value in variables.items() if variable not in stays}
    if added:
        env = _list(container, "env", f"{CONTAINER}{name}/env", status)
        env.extend({"name": variable, "value": value} for variable, value in added.items())
        status.env[name] = list(added)
    _list(container, "volumeMounts", f"{CONTAINER}{name}/volumeMounts", status).append(application_mount())
    status.mounts.append(name)


def _let_go(container: Document, status: Status) -> None:
    name = container.get("name")
    ours = status.env.get(str(name), [])
    _remove(container, "env", lambda one: one.get("name") in ours)
    if name in status.mounts:
        _remove(container, "volumeMounts", lambda one: one.get("mountPath") == names.CA_DIR)


def _add_containers(template: Document, wanted: PodSettings, sidecar: dict[str, Any], status: Status) -> None:
    spec = template["spec"]
    firewall = []
    if wanted.mode == TRANSPARENT:
        straight = [one.uid for one in neighbours_in(template) if one.uid]
        firewall = [firewall_container(wanted, straight)]
    if wanted.form == NATIVE:
        _list(spec, "initContainers", "spec/initContainers", status)[0:0] = [sidecar, *firewall]
    else:
        spec["containers"].insert(0, sidecar)
        if firewall:
            # Last, since the pod's own init containers call while nobody listens yet.
            _list(spec, "initContainers", "spec/initContainers", status).extend(firewall)
    status.containers = [names.SIDECAR, *(one["name"] for one in firewall)]


def _allow_time(spec: Document, wanted: PodSettings, status: Status) -> None:
    """In the classic form all get SIGTERM at once, and the sidecar serves on: the pod must be given that time."""
    given = spec.get(GRACE)
    needed_s = math.ceil(end_s(wanted))
    if wanted.form == CLASSIC and needed_s > (DEFAULT_GRACE_S if given is None else given):
        status.grace = [given, needed_s]
        if given is None and GRACE in spec:
            status.null.append(f"spec/{GRACE}")
        spec[GRACE] = needed_s


def _list(holder: Document, key: str, path: str, status: Status) -> Any:
    return _made(holder, key, path, status, [])


def _mapping(holder: Document, key: str, path: str, status: Status) -> Any:
    return _made(holder, key, path, status, {})


def _made(holder: Document, key: str, path: str, status: Status, empty: Any) -> Any:
    if holder.get(key) is None:
        (status.null if key in holder else status.made).append(path)
        holder[key] = empty
    return holder[key]


def _unmake(template: Document, path: str, *, null: bool) -> None:
    where, _, key = path.rpartition("/")
    for holder in _holders(template, where):
        if key in holder and not holder[key]:
            _restore(holder, key, None, null=null)


def _holders(template: Document, where: str) -> Iterable[Any]:
    match where:
        case "":
            return [template]
        case "spec" | "metadata":
            return [template[where]] if where in template else []
        case _:
            return [
                one for one in every_container(template["spec"]) if one.get("name") == where.removeprefix(CONTAINER)
            ]


def _restore(holder: Document, key: str, value: object, *, null: bool) -> None:
    if value is None and not null:
        holder.pop(key, None)
    else:
        holder[key] = value


def _remove(holder: Document, key: str, ours: Callable[[Mapping[str, Any]], bool]) -> None:
    """One by one: a list that has positions and comments of its own keeps those of what stays."""
    found = holder.get(key)
    if isinstance(found, list):
        for index in reversed(range(len(found))):
            if isinstance(found[index], Mapping) and ours(found[index]):
                del found[index]
