"""Where the state lives."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.kube.annotations import Defaults
from tests.kube.pods import injected, named, pod, workload

CLAIM = Defaults(state="warm")
FS_GROUP = {"fsGroup": 65532}


def state_of(spec: dict[str, Any]) -> tuple[str, Any]:
    """The name of the volume that is mounted for the state, and what the pod says of it."""
    mounts = {mount["mountPath"]: mount["name"] for mount in spec["initContainers"][0]["volumeMounts"]}
    name = mounts["/var/lib/sidecar"]
    found = [volume for volume in spec["volumes"] if volume["name"] == name]
    return name, found[0] if found else None


def test_a_directory_that_goes_with_the_pod_and_cannot_fill_the_node() -> None:
    assert state_of(injected(pod())["spec"]) == (
        "sidecar-state",
        {"name": "sidecar-state", "emptyDir": {"sizeLimit": "1Gi"}},
    )


def test_a_claim_of_that_name() -> None:
    volume = {"name": "sidecar-state", "persistentVolumeClaim": {"claimName": "warm"}}
    assert state_of(injected(pod(securityContext=FS_GROUP), CLAIM)["spec"]) == ("sidecar-state", volume)


def test_a_claim_template_of_that_name_is_each_pods_own() -> None:
    document = workload(
        "StatefulSet", pod(securityContext=FS_GROUP), volumeClaimTemplates=[{"metadata": {"name": "warm"}}]
    )
    assert state_of(injected(document, CLAIM)["spec"]["template"]["spec"]) == ("warm", None)


def test_so_is_the_volume_that_a_stateful_sets_pod_comes_with() -> None:
    volume = {"name": "warm", "persistentVolumeClaim": {"claimName": "warm-ledger-0"}}
    once = injected(pod(volumes=[volume], securityContext=FS_GROUP), CLAIM)
    assert state_of(once["spec"]) == ("warm", volume)
    assert [one["name"] for one in once["spec"]["volumes"]] == ["warm", "sidecar-ca"]
    assert injected(once, CLAIM) == once


@pytest.mark.parametrize("secret", ["one", "two.three"])
def test_secrets_are_the_sidecars_alone(secret: str) -> None:
    spec = injected(pod(), Defaults(secrets=secret))["spec"]
    (mount,) = [
        one for one in spec["initContainers"][0]["volumeMounts"] if one["mountPath"].startswith("/etc/sidecar/secrets")
    ]
    assert mount == {"name": mount["name"], "mountPath": f"/etc/sidecar/secrets/{secret}", "readOnly": True}
    assert named(spec["volumes"], mount["name"])["secret"] == {"secretName": secret}
