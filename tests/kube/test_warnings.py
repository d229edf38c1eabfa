"""What the owner of a pod is told beside getting the sidecar."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from sidecar.kube.annotations import Defaults
from sidecar.kube.inject import inject
from tests.kube.pods import container, pod, workload

PLAIN = Defaults()
TRANSPARENT = Defaults(mode="transparent")
CLASSIC = Defaults(form="classic")
CLAIM = Defaults(state="claim")


def own(**variables: Any) -> dict[str, Any]:
    return pod(container(env=[{"name": name, "value": value} for name, value in variables.items()]))


def said(document: dict[str, Any], defaults: Defaults) -> tuple[str, ...]:
    return inject(deepcopy(document), defaults, asked=True)


@pytest.mark.parametrize(
    ("document", "defaults", "words"),
    [
        (own(HTTPS_PROXY="http://corp"), PLAIN, "container app sets HTTPS_PROXY, https_proxy itself, which stays"),
        (own(REQUESTS_CA_BUNDLE="/corp.pem"), TRANSPARENT, "container app sets REQUESTS_CA_BUNDLE itself"),
        (own(NO_PROXY="localhost"), PLAIN, "NO_PROXY itself, which stays: add 127.0.0.1,::1,.svc,.cluster.local,"),
        (pod(securityContext={"runAsUser": 65532}), PLAIN, "container app runs as user 65532, as the sidecar does"),
        (pod(shareProcessNamespace=True), PLAIN, "shareProcessNamespace: true lets containers that run as root"),
        (pod(), CLAIM, "the claim claim may not be writable for user 65532; set the pod's securityContext.fsGroup"),
        (
            workload("Deployment", pod(securityContext={"fsGroup": 1}), replicas=2),
            CLAIM,
            "the claim claim is one for all pods of the workload",
        ),
        (pod(terminationGracePeriodSeconds=3), PLAIN, "leaves the sidecar less than the 5s"),
        (
            pod(terminationGracePeriodSeconds=90),
            CLASSIC,
            "the sidecar serves for 25s after SIGTERM, the pod may live for 90s",
        ),
        (pod(annotations={"sidecar/exclude-ports": "1"}), PLAIN, "sidecar/exclude-ports counts only with"),
        (pod(annotations={"sidecars/mode": "proxy"}), PLAIN, "did you mean sidecar/mode?"),
        (
            pod(container(), container("worker")),
            Defaults(mode="transparent", containers="app"),
            "sidecar/containers leaves out worker, but redirection is the whole pod's",
        ),
        (
            pod(container("istio-proxy"), container()),
            PLAIN,
            'Istio is in this pod, too: set the annotation traffic.sidecar.istio.io/excludeInboundPorts: "7601"',
        ),
        (pod(annotations={"linkerd.io/inject": "enabled"}), PLAIN, "config.linkerd.io/skip-inbound-ports"),
    ],
)
def test_what_is_said(document: dict[str, Any], defaults: Defaults, words: str) -> None:
    (warning,) = said(document, defaults)
    assert words in warning
    assert "\n" not in warning
    assert warning.split(":")[0] in ("pod/shop", "deployment/shop")


@pytest.mark.parametrize(
    ("document", "defaults"),
    [
        (own(NO_PROXY="*"), PLAIN),
        (own(NO_PROXY="localhost"), TRANSPARENT),
        (own(HTTP_PROXY="http://127.0.0.1:7600", http_proxy="http://127.0.0.1:7600"), PLAIN),
        (workload("StatefulSet", pod(securityContext={"fsGroup": 1}), replicas=3), CLAIM),
        (workload("Deployment", pod(securityContext={"fsGroup": 1}), replicas=1), CLAIM),
        (pod(terminationGracePeriodSeconds=90), Defaults(form="classic", drain="60s")),
        (pod(terminationGracePeriodSeconds=90), PLAIN),
        (pod(container("vault-agent"), container()), PLAIN),
        (
            pod(
                container("istio-proxy"),
                container(),
                annotations={"traffic.sidecar.istio.io/excludeInboundPorts": "80,7601"},
            ),
            PLAIN,
        ),
        (pod(annotations={"sidecar/exclude-ports": "1"}), TRANSPARENT),
    ],
)
def test_what_is_not_worth_a_word(document: dict[str, Any], defaults: Defaults) -> None:
    assert said(document, defaults) == ()
