"""What others wrote into our own containers and volumes, and what must outlive a second injection.

A pod is reviewed again when another webhook changed it. By then the API server has filled in its defaults, and
a LimitRange its limits. Injection writes our parts anew; without this it would take those out of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Final

DEFAULTED: Final[Mapping[str, tuple[object, ...]]] = {
    "apiVersion": ("v1",),
    "defaultMode": (420,),
    "divisor": ("0",),
    "failureThreshold": (3,),
    "imagePullPolicy": ("Always", "IfNotPresent"),
    "periodSeconds": (10,),
    "procMount": ("Default",),
    "protocol": ("TCP",),
    "scheme": ("HTTP",),
    "successThreshold": (1,),
    "terminationMessagePath": ("/dev/termination-log",),
    "terminationMessagePolicy": ("File",),
    "timeoutSeconds": (1,),
}
"""Members that the API server adds where they are missing, with the values that it gives them (core/v1 defaults)."""

OURS: Final = "sidecar"
"""How the names of our parts begin: this, or this and a hyphen."""
PARTS: Final = ("initContainers", "containers", "volumes")
IDENTITY: Final = ("name", "mountPath", "containerPort")
"""What tells the items of a list apart, the first that an item has."""


def keep_others(before: Mapping[str, Any], after: Mapping[str, Any], *, limits: bool) -> None:
    """Put them back into `after`, in place. Both are pod specs. `limits` for a pod that is made: in a template, what
    stands there may be an earlier injection's."""
    for part in PARTS:
        for was, now in _pairs(before.get(part), after.get(part)):
            name = now.get("name", "")
            if name == OURS or name.startswith(f"{OURS}-"):
                _keep(was, now)
                if limits:
                    _keep_resources(was, now)


def _keep(was: Mapping[str, Any], now: MutableMapping[str, Any]) -> None:
    for key, value in was.items():
        if key not in now:
            if value in DEFAULTED.get(key, ()) or (key == "resizePolicy" and _is_default_resize_policy(value)):
                now[key] = value
        elif isinstance(value, Mapping) and isinstance(now[key], MutableMapping):
            _keep(value, now[key])
        else:
            for pair in _pairs(value, now[key]):
                _keep(*pair)


def _is_default_resize_policy(value: object) -> bool:
    """Clusters of 1.33 and later add an entry for each resource."""
    return isinstance(value, list) and all(
        isinstance(entry, Mapping) and entry.get("restartPolicy") == "NotRequired" for entry in value
    )


def _keep_resources(was: Mapping[str, Any], now: MutableMapping[str, Any]) -> None:
    """A LimitRange gives a container what it lacks, and may refuse one that lacks it in the end."""
    given = was.get("resources")
    if not isinstance(given, Mapping):
        return
    resources = now.setdefault("resources", {})
    for bound in ("requests", "limits"):
        if isinstance(given.get(bound), Mapping):
            resources[bound] = {**given[bound], **resources.get(bound, {})}


def _pairs(was: object, now: object) -> Iterator[tuple[Mapping[str, Any], MutableMapping[str, Any]]]:
    """Items of two lists that are the same thing."""
    if not isinstance(was, list) or not isinstance(now, list):
        return
    known = {_identity(item): item for item in was if isinstance(item, Mapping)}
    for item in now:
        if isinstance(item, MutableMapping) and (same := known.get(_identity(item))) is not None:
            yield same, item


def _identity(item: Mapping[str, Any]) -> object:
    return next(((key, str(item[key])) for key in IDENTITY if key in item), None)
