"""The classic form is an ordinary Pod: `podman kube play` runs it as it is, with nothing of ours in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pod.cluster import PROVIDER_HOST, Cluster, inject
from tests.pod.containers import expand, pid_of, status_of
from tests.pod.dial import request
from tests.pod.manifests import BASE, FOREVER, STRIPE, till
from tests.pod.podman import podman, unique
from tests.pod.waiting import until

POLICY = STRIPE.replace("/etc/sidecar/secrets/roots", "/etc/sidecar/policies/NAME")


def understood(pod: dict[str, Any], name: str, address: str) -> dict[str, Any]:
    """The manifest without what podman 4.3 has not: fields of the Pod, and variables that refer to others; annotations
    of more than 63 characters; volumes and ports that are the Pod's own (its volumes' names are the whole machine's,
    and a container's ports are opened on it)."""
    fields = {
        "status.podIP": address,
        "metadata.name": name,
        "metadata.namespace": "default",
        "spec.nodeName": "node-1",
    }
    for container in pod["spec"]["containers"]:
        container.pop("ports", None)
        known: dict[str, str] = {}
        for entry in container.get("env", []):
            field = entry.pop("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            entry["value"] = fields[field] if field else expand(entry["value"], known)
            known[entry["name"]] = entry["value"]
        for mount in container["volumeMounts"]:
            mount["name"] = f"{name}-{mount['name']}"
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe in container:
                container[probe]["httpGet"]["port"] = 7601
    for volume in pod["spec"]["volumes"]:
        volume["name"] = f"{name}-{volume['name']}"
    annotations = {key: value for key, value in pod["metadata"]["annotations"].items() if len(value) < 64}
    pod["metadata"] |= {"name": name, "annotations": annotations}
    return pod


@pytest.fixture
def played(here: Cluster, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The Pod's name and address."""
    name, address = unique("play"), here.address()
    programs = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": f"{name}-programs"}}
    programs |= {"data": {key: value.decode() for key, value in here.objects.of("ConfigMap", "programs").items()}}
    policies = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}}
    policies |= {"data": {"stripe.yaml": POLICY.replace("NAME", name), "ca.crt": here.provider.root}}
    manifest = till(*FOREVER, form="classic", **BASE, policies=name)
    del manifest["metadata"]["annotations"]["sidecar/secrets"]
    manifest["spec"]["volumes"][0]["configMap"]["name"] = f"{name}-programs"
    manifest["spec"]["hostAliases"] = [{"ip": here.provider.address, "hostnames": [PROVIDER_HOST]}]
    pod = understood(inject(manifest), name, address)
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump_all([programs, policies, pod], sort_keys=False))
    try:
        podman("kube", "play", "--network", here.network, "--ip", address, str(file))
        yield name, address
    finally:
        podman("pod", "rm", "--force", "--time", "0", name, check=False)
        for volume in (name, f"{name}-programs", f"{name}-sidecar-ca", f"{name}-sidecar-state"):
            podman("volume", "rm", "--force", volume, check=False)


def test_podman_plays_the_classic_form_as_it_is(here: Cluster, played: tuple[str, str]) -> None:
    name, address = played
    admin = (address, 7601)
    until(lambda: request(here.provider.pid, admin, "GET", "/readyz")[0] == 200, what="the sidecar to be ready")
    lines = until(lambda: [line for line in podman("logs", f"{name}-app").splitlines() if '"ok": true' in line][4:])
    assert all("provider=stripe" in json.loads(line)["field"] for line in lines)
    status = status_of(pid_of(f"{name}-sidecar"))
    assert status["Uid"].split()[0] == "65532"
    assert int(status["CapBnd"], 16) == 0
    known = json.loads(request(here.provider.pid, admin, "GET", "/calls")[1])["calls"]
    assert {(one["provider"], one["mode"]) for one in known} == {("stripe", "reverse")}
