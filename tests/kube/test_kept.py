from __future__ import annotations

from copy import deepcopy
from typing import Any

from sidecar.kube.kept import keep_others
from tests.kube.recorded import defaulted


def ours() -> dict[str, Any]:
    return {
        "name": "sidecar",
        "resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "256Mi"}},
        "ports": [{"name": "sidecar-admin", "containerPort": 7601}],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "livenessProbe": {"httpGet": {"path": "/livez", "port": 7601}, "periodSeconds": 10},
    }


def pod(**container: Any) -> dict[str, Any]:
    volumes = [{"name": "sidecar-policies-a", "configMap": {"name": "a"}}]
    return {"kind": "Pod", "spec": {"containers": [{**ours(), **container}], "volumes": volumes}}


def kept(before: dict[str, Any], after: dict[str, Any], *, limits: bool = True) -> dict[str, Any]:
    result = deepcopy(after)
    keep_others(before["spec"], result["spec"], limits=limits)
    return result


def test_defaults_of_the_api_server_stay() -> None:
    before = defaulted(pod())
    assert before != pod()
    assert kept(before, pod()) == before


def test_limits_of_a_limit_range_stay_in_a_pod_and_ours_win() -> None:
    given = {"requests": {"cpu": "1", "ephemeral-storage": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    [container] = kept(pod(resources=given), pod())["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "50m", "ephemeral-storage": "1Gi"},
        "limits": {"cpu": "2", "memory": "256Mi"},
    }
    assert kept(pod(resources=given), pod(), limits=False) == pod()


def test_nothing_else_of_what_was_there_stays() -> None:
    before = pod(
        command=["sh"],
        terminationMessagePath="/elsewhere",
        securityContext={"privileged": True},
        resizePolicy=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}],
        volumeMounts=[{"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
    )
    assert kept(before, pod()) == pod()


def test_the_application_is_not_touched() -> None:
    before = defaulted(pod(name="shop"))
    assert kept(before, pod(name="shop"))["spec"]["containers"] == pod(name="shop")["spec"]["containers"]


def test_what_is_no_list_of_objects_is_left_alone() -> None:
    for odd in (None, 3, "x", [1], [{"name": 3}], {"a": 1}):
        spec = {"containers": deepcopy(odd), "volumes": deepcopy(odd)}
        keep_others({"containers": [{"name": "sidecar", "resources": 3}], "initContainers": odd}, spec, limits=True)
        assert spec["containers"] == odd
