"""What keeps a pod from having the sidecar, each with a sentence that says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.kube.annotations import Defaults
from sidecar.kube.inject import NotInjectable
from tests.kube.pods import container, injected, pod, workload

TRANSPARENT = Defaults(mode="transparent")
CLASSIC = Defaults(form="classic")
PLAIN = Defaults()


@pytest.mark.parametrize(
    ("document", "defaults", "said"),
    [
        (pod(hostNetwork=True), PLAIN, "hostNetwork: true shares the node's network"),
        (pod(nodeSelector={"kubernetes.io/os": "windows"}), PLAIN, "the pod is for Windows nodes"),
        (pod(os={"name": "windows"}), PLAIN, "the pod is for Windows nodes"),
        (workload("Job", pod(restartPolicy="Never")), CLASSIC, "set sidecar/form: native"),
        (workload("CronJob", pod()), CLASSIC, "set sidecar/form: native"),
        (pod(restartPolicy="OnFailure"), CLASSIC, "set sidecar/form: native"),
        (pod(container("sidecar")), PLAIN, "a container is called sidecar already, and no sidecar/status says"),
        (pod(initContainers=[container("sidecar-firewall")]), PLAIN, "a container is called sidecar-firewall already"),
        (pod(volumes=[{"name": "sidecar-ca"}]), PLAIN, "a volume is called sidecar-ca already"),
        (pod(volumes=[{"name": "sidecar-secret-x"}]), Defaults(secrets="x"), "a volume is called sidecar-secret-x"),
        (pod(container(ports=[{"containerPort": 7600}])), PLAIN, "container app listens on port 7600"),
        (pod(container(ports=[{"containerPort": 7601}])), PLAIN, "container app listens on port 7601"),
        (pod(container(ports=[{"containerPort": 7603}])), TRANSPARENT, "container app listens on port 7603"),
        (
            pod(container(volumeMounts=[{"name": "x", "mountPath": "/run/sidecar/ca/"}])),
            PLAIN,
            "container app mounts something at /run/sidecar/ca",
        ),
        (
            pod(container(securityContext={"runAsUser": 65532})),
            TRANSPARENT,
            "container app runs as user 65532, whose connections are not redirected",
        ),
        (pod(securityContext={"runAsUser": 65532}), TRANSPARENT, "set sidecar/user to one that nobody else has"),
        (pod(), Defaults(containers="ap"), "sidecar/containers: there is no container ap; did you mean app?"),
        (pod(), Defaults(containers="zzz"), "there is no container zzz; there is app"),
        (
            pod(initContainers=[container("migrate")]),
            Defaults(form="classic", containers="migrate"),
            "migrate is an init container, and through before a classic sidecar starts",
        ),
        (pod(container(), containers=[]), PLAIN, "the pod template has no containers"),
        (pod(containers="x"), PLAIN, "containers: expected a list, got str"),
        (pod(containers=["x"]), PLAIN, "containers: expected mappings with a name"),
        (pod(container(env={"A": "b"})), PLAIN, "containers: app: env: expected a list, got dict"),
        (pod(terminationGracePeriodSeconds="30"), PLAIN, "terminationGracePeriodSeconds: expected a whole number"),
        (
            {"kind": "Pod", "metadata": "x", "spec": {"containers": [container()]}},
            PLAIN,
            "metadata: expected a mapping",
        ),
        ({"kind": "Pod", "metadata": {}}, PLAIN, "the pod template has no containers"),
    ],
)
def test_who_is_refused(document: dict[str, Any], defaults: Defaults, said: str) -> None:
    with pytest.raises(NotInjectable) as error:
        injected(document, defaults)
    (problem,) = error.value.problems
    assert said in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("document", "defaults"),
    [
        (pod(container(ports=[{"containerPort": 7602}])), TRANSPARENT),
        (pod(container(ports=[{"containerPort": 7603}])), PLAIN),
        (pod(container(securityContext={"runAsUser": 1000}), securityContext={"runAsUser": 65532}), TRANSPARENT),
        (pod(securityContext={"runAsUser": 65532}), Defaults(mode="transparent", user="2000")),
        (pod(nodeSelector={"kubernetes.io/os": "linux"}), PLAIN),
        (workload("Job", pod(restartPolicy="Never")), PLAIN),
        (pod(hostNetwork=False), PLAIN),
    ],
)
def test_who_is_not(document: dict[str, Any], defaults: Defaults) -> None:
    assert "sidecar/status" in str(injected(document, defaults))


def test_what_was_put_in_is_no_clash() -> None:
    once = injected(pod(), TRANSPARENT)
    assert injected(once, TRANSPARENT) == once
    del once["metadata"]["annotations"]["sidecar/status"]
    with pytest.raises(NotInjectable, match="a container is called sidecar already"):
        injected(once, TRANSPARENT)


def test_who_says_no_is_not_looked_at() -> None:
    document = pod(hostNetwork=True, annotations={"sidecar/inject": "false"})
    assert injected(document) == document
