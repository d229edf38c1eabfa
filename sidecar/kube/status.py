"""The record of what was put into a pod, in the annotation `sidecar/status`: so that no more than that is taken out.

Pure. `docs/kubernetes/inject.md` explains the members, which are the field names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from sidecar import __version__
from sidecar.kube.annotations import STATUS, PodSettings
from sidecar.kube.workloads import Document, mapping


class Unreadable(ValueError):  # noqa: N818 - named for what happened
    """The annotation is there, and is not what we write."""


@dataclass
class Status:
    digest: str
    """Of the settings by which it was made."""
    version: str = __version__
    containers: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    env: dict[str, list[str]] = field(default_factory=dict)
    """Variables, by container."""
    mounts: list[str] = field(default_factory=list)
    """Containers that see the certificates."""
    made: list[str] = field(default_factory=list)
    """Keys that were not there before, by their way: `spec/volumes`, and `container/app/env`."""
    null: list[str] = field(default_factory=list)
    """Those that were there without a value."""
    grace: list[int | None] = field(default_factory=list)
    """What `terminationGracePeriodSeconds` was and was made, if it was changed."""

    def text(self) -> str:
        """What is empty is left out."""
        return json.dumps({name: value for name, value in asdict(self).items() if value}, separators=(",", ":"))


def digest_of(wanted: PodSettings) -> str:
    return sha256(json.dumps(asdict(wanted), sort_keys=True).encode()).hexdigest()[:12]


def read_status(template: Mapping[str, Any]) -> Status | None:
    """The record of a pod template; None where there is none. Raises `Unreadable`."""
    text = mapping(mapping(template.get("metadata")).get("annotations")).get(STATUS)
    if text is None:
        return None
    try:
        status = Status(**json.loads(text))
    except (TypeError, ValueError):
        raise Unreadable(STATUS) from None
    if not _well_formed(status):
        raise Unreadable(STATUS)
    return status


def write_status(template: Document, status: Status) -> None:
    template["metadata"]["annotations"][STATUS] = status.text()


def _well_formed(status: Status) -> bool:
    lists = (status.containers, status.volumes, status.mounts, status.made, status.null, *_values(status.env))
    return (
        all(isinstance(one, list) and all(isinstance(name, str) for name in one) for one in lists)
        and isinstance(status.grace, list)
        and len(status.grace) in (0, 2)
        and all(one is None or isinstance(one, int) for one in status.grace)
    )


def _values(env: object) -> list[object]:
    return list(env.values()) if isinstance(env, dict) else [None]
