"""The example of `k8s/example`, as its page has it applied: rendered by kubectl, run as Pods."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import yaml

from tests.pod.answers import admin
from tests.pod.cluster import APP_IMAGE, Cluster, pod_of
from tests.pod.dial import request
from tests.pod.image import IMAGE, ROOT
from tests.real import need

IMAGES = {"till": APP_IMAGE, "sidecar": IMAGE}


@pytest.fixture
def rendered(here: Cluster) -> dict[str, dict[str, Any]]:
    """Its workloads by name; its ConfigMaps and Secrets are in the cluster."""
    command = [need("kubectl"), "kustomize", str(ROOT / "k8s" / "example" / "offline")]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    documents = [document for document in yaml.safe_load_all(text) if document]
    for document in documents:
        if document["kind"] in ("ConfigMap", "Secret"):
            here.apply(document)
    return {one["metadata"]["name"]: one for one in documents if one["kind"] == "Deployment"}


def test_the_till_charges_though_every_third_call_to_its_provider_fails(
    here: Cluster, rendered: dict[str, dict[str, Any]]
) -> None:
    provider = here.bare_pod(with_images(rendered["stripe-stand-in"])).running()
    till = with_images(rendered["till"])
    # What the Service's name is in a cluster.
    till["spec"]["hostAliases"] = [{"ip": provider.address, "hostnames": ["stripe-stand-in"]}]
    pod = here.bare_pod(till).running()
    for _ in range(9):
        status, body = request(here.provider.pid, (pod.address, 8080), "GET", "/charge")
        assert (status, json.loads(body)["amount"]) == (200, 1999)
    known = admin(pod, "/calls")["calls"]
    assert [one["status"] for one in known] == [200] * 9
    assert sum(one["attempts"] for one in known) > 9, "some were made again"


def with_images(deployment: dict[str, Any]) -> dict[str, Any]:
    """The Pod of a Deployment with the images that there are."""
    pod = pod_of(deployment)
    for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
        container["image"] = IMAGES[container["image"].partition(":")[0]]
    return pod | {"kind": "Pod"}
