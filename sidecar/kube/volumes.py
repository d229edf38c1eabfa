"""The volumes of the sidecar, and who sees which. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sidecar.kube import names
from sidecar.kube.annotations import PodSettings
from sidecar.kube.workloads import items

STATE_SIZE: Final = "1Gi"
"""The cache's share on disk is 256 MiB by default; its journal may be as long while it is written."""


def state_volume(spec: Mapping[str, Any], wanted: PodSettings, claim_templates: Collection[str]) -> str:
    """The name of the volume that the state is in.

    A StatefulSet's claim templates give each pod a volume of the template's name; other claims get one of ours.
    """
    there = {one.get("name") for one in items(spec.get("volumes")) if "persistentVolumeClaim" in one}
    if wanted.state is not None and (wanted.state in claim_templates or wanted.state in there):
        return wanted.state
    return names.STATE_VOLUME


def volumes(wanted: PodSettings, state: str) -> list[dict[str, Any]]:
    """Those that are ours; `state` as `state_volume` says."""
    return [
        {"name": names.CA_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        *([_state(wanted)] if state == names.STATE_VOLUME else []),
        *(
            # Optional: the pod starts without it, is not ready, says why, and mends itself when it comes.
            {"name": names.policies_volume(one), "configMap": {"name": one, "optional": True}}
            for one in wanted.policies
        ),
        *({"name": names.secret_volume(one), "secret": {"secretName": one}} for one in wanted.secrets),
    ]


def sidecar_mounts(wanted: PodSettings, state: str) -> list[dict[str, Any]]:
    return [
        {"name": names.CA_VOLUME, "mountPath": names.CA_DIR},
        {"name": state, "mountPath": names.STATE_DIR},
        *(_read_only(names.policies_volume(one), f"{names.POLICIES_DIR}/{one}") for one in wanted.policies),
        *(_read_only(names.secret_volume(one), f"{names.SECRETS_DIR}/{one}") for one in wanted.secrets),
    ]


def application_mount() -> dict[str, Any]:
    return _read_only(names.CA_VOLUME, names.CA_DIR)


def _state(wanted: PodSettings) -> dict[str, Any]:
    if wanted.state is None:
        return {"name": names.STATE_VOLUME, "emptyDir": {"sizeLimit": STATE_SIZE}}
    return {"name": names.STATE_VOLUME, "persistentVolumeClaim": {"claimName": wanted.state}}


def _read_only(volume: str, path: str) -> dict[str, Any]:
    return {"name": volume, "mountPath": path, "readOnly": True}
