"""`k8s/injector`, as it is applied, and the page that tells how."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import ssl
import subprocess
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sidecar.kube.review import KINDS
from tests.k8s.build import build, to, write
from tests.kube.injector import CLEAN, Injector, until
from tests.real import need

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "k8s/injector"
PAGE = (ROOT / "docs/kubernetes/injector.md").read_text(encoding="utf-8")
OLDEST, NEWEST = "1.29", "1.37"
SERVICE = "sidecar-injector.sidecar-injector.svc"
CERTS = "cert-manager.io/v1"


@lru_cache
def built(*components: str) -> tuple[dict[str, Any], ...]:
    """The whole with components, as a kustomization elsewhere would have it."""
    if not components:
        return tuple(build(MANIFESTS))
    with TemporaryDirectory() as name:
        here = Path(name)
        parts = [to(here, MANIFESTS / "components" / component) for component in components]
        return tuple(build(write(here, {"resources": [to(here, MANIFESTS)], "components": parts})))


def one(kind: str, *components: str) -> dict[str, Any]:
    [found] = [document for document in built(*components) if document["kind"] == kind]
    return found


def webhooks(*components: str) -> dict[str, dict[str, Any]]:
    return {webhook["name"]: webhook for webhook in one("MutatingWebhookConfiguration", *components)["webhooks"]}


def container(*components: str) -> dict[str, Any]:
    [found] = one("Deployment", *components)["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("components", [(), ("fail-closed",), ("cert-manager",), ("cert-manager", "fail-closed")])
def test_everything_is_valid_for_the_oldest_cluster_and_the_newest(components: tuple[str, ...], version: str) -> None:
    documents = [document for document in built(*components) if document["apiVersion"] != CERTS]
    assert len(documents) == 8
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_it_has_no_rights_and_no_token() -> None:
    assert not {document["kind"] for document in built()} & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}
    assert one("ServiceAccount")["automountServiceAccountToken"] is False
    assert one("Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert one("NetworkPolicy")["spec"]["egress"] == []


def test_its_pods_pass_the_strictest_standard() -> None:
    assert one("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = one("Deployment")["spec"]["template"]["spec"]
    assert (
        pod["securityContext"].items() >= {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}.items()
    )
    assert container()["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_one_replica_may_go_and_another_stays() -> None:
    spec = one("Deployment")["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert one("PodDisruptionBudget")["spec"]["minAvailable"] == 1
    keys = {spread["topologyKey"] for spread in spec["template"]["spec"]["topologySpreadConstraints"]}
    assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def test_the_certificate_is_mounted_as_a_directory_that_renews_itself() -> None:
    [mount] = container()["volumeMounts"]
    assert mount == {"name": "tls", "mountPath": "/etc/sidecar/injector/tls", "readOnly": True}


@pytest.mark.parametrize(
    ("components", "policy", "fail"), [((), "Ignore", "open"), (("fail-closed",), "Fail", "closed")]
)
def test_an_injector_that_is_down_and_one_that_says_no_have_the_same_end(
    components: tuple[str, ...], policy: str, fail: str
) -> None:
    assert {webhook["failurePolicy"] for webhook in webhooks(*components).values()} == {policy}
    [variable] = [one for one in container(*components)["env"] if one["name"] == "SIDECAR_INJECTOR_FAIL"]
    assert variable["value"] == fail
    [check] = one("ValidatingWebhookConfiguration", *components)["webhooks"]
    assert check["failurePolicy"] == "Ignore"


@pytest.mark.parametrize("name", ["annotated.injector.sidecar", "namespace.injector.sidecar"])
def test_pods_are_asked_about_when_they_are_made_and_the_cluster_s_own_never(name: str) -> None:
    webhook = webhooks()[name]
    assert [(rule["operations"], rule["resources"]) for rule in webhook["rules"]] == [(["CREATE"], ["pods"])]
    assert (webhook["timeoutSeconds"], webhook["reinvocationPolicy"]) == (5, "IfNeeded")
    assert (webhook["sideEffects"], webhook["admissionReviewVersions"]) == ("None", ["v1"])
    excluded = {
        (expression["key"], value)
        for expression in webhook["namespaceSelector"]["matchExpressions"]
        if expression["operator"] == "NotIn"
        for value in expression["values"]
    }
    names = {value for key, value in excluded if key == "kubernetes.io/metadata.name"}
    assert names == {"kube-system", "kube-public", "kube-node-lease", one("Namespace")["metadata"]["name"]}
    [variable] = [one for one in container()["env"] if one["name"] == "SIDECAR_INJECTOR_EXCLUDE_NAMESPACES"]
    assert set(variable["value"].split(",")) == names


def test_a_pod_meets_one_webhook_at_most() -> None:
    annotated, namespace = (
        webhooks()[f"{name}.injector.sidecar"]["namespaceSelector"]["matchExpressions"]
        for name in ("annotated", "namespace")
    )
    assert {"key": "sidecar/inject", "operator": "In", "values": ["enabled"]} in namespace
    [apart] = [e for e in annotated if e["key"] == "sidecar/inject"]
    assert apart["operator"] == "NotIn"
    assert "enabled" in apart["values"]


def test_the_check_looks_at_workloads_that_injection_knows() -> None:
    [check] = one("ValidatingWebhookConfiguration")["webhooks"]
    plurals = {f"{kind.lower()}s": group for group, kind in KINDS}
    asked = {resource: rule["apiGroups"][0] for rule in check["rules"] for resource in rule["resources"]}
    assert asked.items() <= plurals.items()
    assert "pods" not in asked


def test_every_webhook_calls_a_path_that_there_is_at_the_service_that_there_is() -> None:
    service = one("Service")
    for webhook in (*webhooks().values(), *one("ValidatingWebhookConfiguration")["webhooks"]):
        called = webhook["clientConfig"]["service"]
        assert (called["name"], called["namespace"]) == (service["metadata"]["name"], service["metadata"]["namespace"])
        assert called["port"] == service["spec"]["ports"][0]["port"]
        assert called["path"] in ("/inject", "/inject/all", "/check")
        assert f"`POST {called['path']}`" in PAGE


def test_cert_manager_makes_the_mounted_secret_and_fills_in_both_configurations() -> None:
    documents = built("cert-manager")
    certificates = {
        document["metadata"]["name"]: document["spec"] for document in documents if document["kind"] == "Certificate"
    }
    serving = certificates["sidecar-injector"]
    [volume] = one("Deployment")["spec"]["template"]["spec"]["volumes"]
    assert serving["secretName"] == volume["secret"]["secretName"]
    assert SERVICE in serving["dnsNames"]
    issuers = {document["metadata"]["name"]: document["spec"] for document in documents if document["kind"] == "Issuer"}
    signer = issuers[serving["issuerRef"]["name"]]["ca"]["secretName"]
    assert signer == certificates["sidecar-injector-ca"]["secretName"]
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        annotations = one(kind, "cert-manager")["metadata"]["annotations"]
        assert annotations == {"cert-manager.io/inject-ca-from": "sidecar-injector/sidecar-injector"}


def test_the_page_s_kustomization_names_the_image_once(tmp_path: Path) -> None:
    kustomization = blocks("yaml")[0].replace("../k8s", to(tmp_path, MANIFESTS.parent))
    documents = build(write(tmp_path, yaml.safe_load(kustomization)))
    [deployment] = [document for document in documents if document["kind"] == "Deployment"]
    [injector] = deployment["spec"]["template"]["spec"]["containers"]
    assert injector["image"] == "mirror/sidecar:0.1.0"
    assert {"name": "SIDECAR_INJECTOR_IMAGE", "value": "mirror/sidecar:0.1.0"} in injector["env"]
    assert any(document["kind"] == "Certificate" for document in documents)


def test_the_page_s_certificate_is_one_that_the_api_server_believes(tmp_path: Path) -> None:
    need("openssl")
    script = next(block for block in blocks("sh") if block.startswith("openssl req -x509"))
    subprocess.run(["sh", "-euc", script], cwd=tmp_path, check=True, capture_output=True, env=CLEAN)
    injector = Injector(tmp_path / "mounted")
    try:
        injector.secret.swap((tmp_path / "tls.crt").read_bytes(), (tmp_path / "tls.key").read_bytes())
        trust = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        trust.verify_flags |= ssl.VERIFY_X509_STRICT

        def believed() -> bool:
            try:
                with (
                    socket.create_connection(("127.0.0.1", injector.port), 5) as plain,
                    trust.wrap_socket(plain, server_hostname=SERVICE),
                ):
                    return True
            except ssl.SSLCertVerificationError:
                return False

        assert until(believed)
    finally:
        injector.end(signal.SIGINT)


def test_the_page_s_patches_are_json() -> None:
    need("sh")
    script = next(block for block in blocks("sh") if "bundle()" in block)
    [definition] = re.findall(r"^bundle\(\) .*$", script, re.MULTILINE)
    patches = re.findall(r'-p ("\[.*\]")$', script, re.MULTILINE)
    assert len(patches) == 2
    for patch, kind in zip(patches, ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"), strict=True):
        command = f"ca={shlex.quote('Q0E=')}\n{definition}\nprintf %s {patch}"
        printed = subprocess.run(["sh", "-euc", command], check=True, capture_output=True, text=True).stdout
        operations = yaml.safe_load(printed)
        assert [operation["path"] for operation in operations] == [
            f"/webhooks/{index}/clientConfig/caBundle" for index in range(len(one(kind)["webhooks"]))
        ]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
