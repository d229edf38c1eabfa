"""What every kustomization in `k8s/` must be: valid, unprivileged, and with its secrets to the sidecar alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from kubernetes_validate import utils

from sidecar.cli.check import check
from sidecar.kube import names
from sidecar.settings import SETTINGS
from tests.k8s.build import (
    COMPONENTS,
    K8S,
    OVERLAYS,
    ROOT,
    RUNNABLE,
    Object,
    build,
    containers,
    pod_templates,
    to,
    write,
)
from tests.k8s.restricted import breaches
from tests.k8s.test_components import WAYS, application, deployment, with_components

NATIVE_SINCE, CLASSIC_SINCE = "1.29", utils.all_versions()[0]
NEWEST = kubernetes_validate.latest_version()
OPERATOR = "monitoring.coreos.com/v1"
"""The Prometheus operator's objects: no schema of theirs is Kubernetes' own."""
RENDERED = ROOT / "docs/kubernetes/rendered"
REFERENCE = re.compile(r"\$\(([^)]+)\)")
ADDED = ("network-policy", "pod-monitor")


@cache
def way(name: str, directory: Path) -> tuple[Object, ...]:
    components, asked_for = WAYS[name]
    objects = application(completing=asked_for.form != "classic")
    return tuple(with_components(directory, [*components, *ADDED], objects))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Object]]:
    """The objects of a kustomization, or of the application of the tests in one of the `WAYS`."""
    root = tmp_path_factory.mktemp("made")
    return lambda name: list(way(name, root / name.replace(" ", "-"))) if name in WAYS else build(name)


@pytest.fixture(scope="module", autouse=True)
def _schemas_are_read_once() -> Iterator[None]:
    """Reading one takes a tenth of a second, and there are hundreds of objects."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield


Made = Callable[[str], list[Object]]
ALL = (*RUNNABLE, *WAYS)


def invalid(objects: list[Object], version: str) -> Iterator[str]:
    for document in objects:
        if document["apiVersion"] == OPERATOR:
            continue
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{document['kind']} {document['metadata']['name']}: {list(error.path)}: {error.message}"


@pytest.mark.parametrize("name", ALL)
def test_objects_are_valid_where_they_are_supported(name: str, made: Made) -> None:
    for version in (CLASSIC_SINCE if name.startswith("classic") else NATIVE_SINCE, NEWEST):
        assert list(invalid(made(name), version)) == [], version


def test_a_typo_would_be_found() -> None:
    document = deployment("own")
    document["spec"]["template"]["spec"]["containers"][0]["imagePullpolicy"] = "Always"
    assert "imagePullpolicy" in next(invalid([document], NEWEST))


@pytest.mark.parametrize("name", [name for name in ALL if "transparent" not in name])
def test_the_strictest_pod_security_standard_is_kept(name: str, made: Made) -> None:
    for document, template in pod_templates(made(name)):
        ours = [breach for breach in breaches(template) if name in RUNNABLE or names.SIDECAR in breach]
        assert ours == [], document["metadata"]["name"]


@pytest.mark.parametrize("name", ["transparent", "classic transparent"])
def test_the_firewall_alone_has_a_privilege(name: str, made: Made) -> None:
    for _, template in pod_templates(made(name)):
        for container in containers(template):
            capabilities = container.get("securityContext", {}).get("capabilities", {})
            if container["name"] == names.FIREWALL:
                assert capabilities == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
            else:
                assert "add" not in capabilities


@pytest.mark.parametrize("name", ALL)
def test_the_sidecar_alone_sees_its_secrets_state_and_policies(name: str, made: Made) -> None:
    own = ("sidecar-secret-", "sidecar-state", "sidecar-policies-")
    for _, template in pod_templates(made(name)):
        for container in containers(template):
            for mount in container.get("volumeMounts", []):
                assert container["name"] == names.SIDECAR or not mount["name"].startswith(own), container["name"]
                assert "subPath" not in mount, "the kubelet would never update it"


@pytest.mark.parametrize("name", ALL)
def test_applications_cannot_write_what_they_trust(name: str, made: Made) -> None:
    for _, template in pod_templates(made(name)):
        for container in containers(template):
            mounts = [one for one in container.get("volumeMounts", []) if one["name"] == names.CA_VOLUME]
            assert all(one.get("readOnly") for one in mounts) or container["name"] == names.SIDECAR


@pytest.mark.parametrize("name", RUNNABLE)
def test_pods_have_no_token_and_no_cpu_limit(name: str, made: Made) -> None:
    for _, template in pod_templates(made(name)):
        assert template["spec"]["automountServiceAccountToken"] is False
        for container in containers(template):
            assert "memory" in container["resources"]["limits"]
            assert "cpu" not in container["resources"]["limits"], "it would be throttled while the node is idle"


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_image_has_a_version(name: str, made: Made) -> None:
    for _, template in pod_templates(made(name)):
        for container in containers(template):
            _, _, tag = container["image"].partition(":")
            assert tag not in {"", "latest"}, container["image"]


def test_images_are_replaced_by_kustomize_alone(tmp_path: Path) -> None:
    digest = "sha256:" + "0" * 64
    images = [{"name": "sidecar", "newName": "registry.internal/sidecar", "digest": digest}]
    components = [to(tmp_path / "made", COMPONENTS / one) for one in ("transparent", "sidecar")]
    directory = write(
        tmp_path / "made",
        {"resources": ["own.yaml"], "components": components, "images": images},
        own=[deployment("a")],
    )
    ((_, template),) = pod_templates(build(directory))
    ours = [one["image"] for one in containers(template) if one["name"].startswith("sidecar")]
    assert ours == [f"registry.internal/sidecar@{digest}"] * 2


@pytest.mark.parametrize("name", ALL)
def test_probes_ask_where_the_admin_port_is(name: str, made: Made) -> None:
    for _, template in pod_templates(made(name)):
        for container in containers(template):
            if container["name"] == names.SIDECAR:
                assert probed(container) == {"/startupz": 7601, "/readyz": 7601, "/livez": 7601}


def probed(container: Object) -> dict[str, int]:
    """Paths, and the ports that the sidecar's own setting must agree with."""
    env = {one["name"]: one.get("value", "") for one in container["env"]}
    port = int(env["SIDECAR_ADMIN"].rpartition(":")[2])
    asked = [container[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert [one["port"] for one in asked] == [port] * 3, "by number: a mesh leaves ports alone by that"
    assert {"name": names.ADMIN_PORT_NAME, "containerPort": port} in container["ports"], "for the PodMonitor"
    return {one["path"]: port for one in asked}


@pytest.mark.parametrize("name", ALL)
def test_every_setting_of_the_sidecar_exists(name: str, made: Made) -> None:
    known = {one.variable for one in SETTINGS}
    for _, template in pod_templates(made(name)):
        for container in containers(template):
            if container["name"].startswith("sidecar"):
                settings = {one["name"] for one in container["env"] if one["name"].startswith("SIDECAR_")}
                assert settings <= known


@pytest.mark.parametrize("name", ALL)
def test_variables_refer_to_what_stands_before_them(name: str, made: Made) -> None:
    """Kubernetes leaves any other reference as it is written. Merges put what is new in front."""
    for _, template in pod_templates(made(name)):
        for container in containers(template):
            known = {"KUBERNETES_SERVICE_HOST"}
            for variable in container.get("env", []):
                assert set(REFERENCE.findall(variable.get("value", ""))) <= known, variable["name"]
                known.add(variable["name"])


@pytest.mark.parametrize("name", RUNNABLE)
def test_only_what_has_a_policy_may_be_called(name: str, made: Made, tmp_path: Path) -> None:
    """As the pod will find them: each ConfigMap a directory that `sidecar check` accepts."""
    (data,) = (one["data"] for one in made(name) if one["metadata"]["name"].startswith("providers"))
    for file, text in data.items():
        (tmp_path / file).write_text(text)
    result = CliRunner().invoke(check, [str(tmp_path)])
    assert result.exit_code == 0, result.output
    unknown = yaml.safe_load(data["defaults.yaml"])["egress"]["unknown"]
    assert unknown == ("allow" if name == "overlays/dev" else "deny")


def test_every_policy_directory_is_used() -> None:
    """So that the test above sees each file."""
    used = {K8S / name / "policies" for name in RUNNABLE} | {COMPONENTS / "shipped-policies/policies"}
    assert set(K8S.rglob("policies")) <= used


def test_prod_fails_closed(made: Made) -> None:
    objects = made("overlays/prod")
    (policies,) = (one for one in objects if one["kind"] == "ConfigMap")
    (volume,) = (
        one
        for _, template in pod_templates(objects)
        for one in template["spec"]["volumes"]
        if one["name"] == "sidecar-policies-providers"
    )
    assert policies["immutable"] is True
    assert policies["metadata"]["name"] != "providers", "without a hash a change could not be rolled out, or back"
    assert volume["configMap"] == {"name": policies["metadata"]["name"], "optional": False}
    assert "PodDisruptionBudget" in [one["kind"] for one in objects]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_docs_show_what_kustomize_makes(overlay: str, made: Made) -> None:
    shown = list(yaml.safe_load_all((RENDERED / f"{overlay}.yaml").read_text()))
    assert shown == made(f"overlays/{overlay}"), "regenerate it: docs/kubernetes/manifests.md says how"
