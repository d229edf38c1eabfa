"""Each component on an application that knows nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from sidecar.kube.inject import Defaults, inject
from tests.k8s.build import (
    APPLICATION,
    COMPONENTS,
    NotBuilt,
    Object,
    build,
    containers,
    pod_template,
    pod_templates,
    to,
    with_components,
    write,
)

COMPLETING = ("Job", "CronJob")

WAYS: Mapping[str, tuple[tuple[str, ...], Defaults]] = {
    "proxy": (("sidecar",), Defaults()),
    "said": (("proxy", "native", "sidecar"), Defaults()),
    "transparent": (("transparent", "sidecar"), Defaults(mode="transparent")),
    "base-url": (("base-url", "sidecar"), Defaults(mode="base-url")),
    "classic": (("classic", "sidecar"), Defaults(form="classic")),
    "classic transparent": (("classic", "transparent", "sidecar"), Defaults(form="classic", mode="transparent")),
    "classic base-url": (("base-url", "classic", "sidecar"), Defaults(form="classic", mode="base-url")),
    "secrets": (("sidecar", "secrets"), Defaults(secrets="sidecar-secrets")),
    "classic secrets": (("classic", "sidecar", "secrets"), Defaults(form="classic", secrets="sidecar-secrets")),
    "supplied-ca": (
        ("sidecar", "supplied-ca"),
        Defaults(
            secrets="sidecar-ca",
            env="SIDECAR_CA_CERT=/etc/sidecar/secrets/sidecar-ca/tls.crt,"
            "SIDECAR_CA_KEY=/etc/sidecar/secrets/sidecar-ca/tls.key",
        ),
    ),
    "redis": (
        ("sidecar", "redis"),
        Defaults(env="SIDECAR_REDIS=secret:sidecar-redis/url,SIDECAR_CACHE_SECRET=secret:sidecar-redis/cache-secret"),
    ),
    "classic redis": (
        ("classic", "sidecar", "redis"),
        Defaults(
            form="classic",
            env="SIDECAR_REDIS=secret:sidecar-redis/url,SIDECAR_CACHE_SECRET=secret:sidecar-redis/cache-secret",
        ),
    ),
}
"""Components, and what says the same to `sidecar inject`."""


def application(*, completing: bool = True) -> list[Object]:
    return [one for one in build(APPLICATION) if completing or one["kind"] not in COMPLETING]


def comparable(template: Object) -> Object:
    """A template's spec without what means nothing: the order of variables, mounts, volumes; separators at an end."""
    spec = template["spec"]
    spec["volumes"] = by_name(spec.get("volumes", []))
    for container in containers(template):
        container["env"] = by_name([one for one in container.get("env", []) if one["name"] != "POD_APPLICATION"])
        container["volumeMounts"] = by_name(container.get("volumeMounts", []))
        for one in container["env"]:
            if "value" in one:
                one["value"] = one["value"].rstrip(", ")
    return {key: value for key, value in spec.items() if value}


def by_name(items: list[Object]) -> list[Object]:
    return sorted(items, key=lambda one: str(one["name"]))


def resolved(template: Object) -> Object:
    """`sidecar inject` writes the application's name; a component has the kubelet read it from the pod's label."""
    name = template["metadata"]["labels"]["app.kubernetes.io/name"]
    for container in containers(template):
        for one in container.get("env", []):
            if one["name"] == "OTEL_SERVICE_NAME":
                one["value"] = one["value"].replace("$(POD_APPLICATION)", name)
    return template


@pytest.mark.parametrize("way", WAYS)
def test_a_component_makes_what_inject_makes(way: str, tmp_path: Path) -> None:
    components, asked_for = WAYS[way]
    before = application(completing=asked_for.form != "classic")
    made = with_components(tmp_path / "made", components, before)
    defaults = Defaults(**{**vars(asked_for), "policies": "providers"})
    for document in before:
        inject(document, defaults, asked=True)
    injected = {(one["kind"], one["metadata"]["name"]): template for one, template in pod_templates(before)}
    compared = {(one["kind"], one["metadata"]["name"]): template for one, template in pod_templates(made)}
    assert compared.keys() == injected.keys()
    for key, template in compared.items():
        assert comparable(resolved(template)) == comparable(injected[key]), key


def test_one_line_brings_policies_as_well(tmp_path: Path) -> None:
    objects = [one for one in application() if one["kind"] != "ConfigMap"]
    made = with_components(tmp_path / "made", ["protect"], objects)
    (policies,) = (one["data"] for one in made if one["kind"] == "ConfigMap")
    assert sorted(policies) == ["defaults.yaml", "hubspot.yaml", "salesforce.yaml", "sendgrid.yaml", "stripe.yaml"]
    assert {one["metadata"]["name"] for one, template in pod_templates(made) if has_sidecar(template)} == {
        "shop", "ledger", "agent", "replica", "import", "report",
    }  # fmt: skip


def test_nothing_but_workloads_is_touched(tmp_path: Path) -> None:
    made = with_components(tmp_path / "made", ["transparent", "sidecar"])
    assert [one for one in made if untouched(one)] == [one for one in application() if untouched(one)]


def test_a_workload_has_its_own_word(tmp_path: Path) -> None:
    objects = [deployment("own", {"sidecar/mode": "base-url", "sidecar/form": "classic"})]
    made = with_components(tmp_path / "made", ["transparent", "native", "sidecar"], objects)
    (spec,) = (template["spec"] for _, template in pod_templates(made))
    assert [one["name"] for one in spec["containers"]] == ["sidecar", "web"]
    assert [one["name"] for one in spec["containers"][1]["env"]] == ["SIDECAR_URL"]
    assert "initContainers" not in spec


def test_names_that_only_contain_ours_are_left_alone(tmp_path: Path) -> None:
    """Kustomize takes names in paths for patterns, which match anywhere."""
    own = [{"name": "MY_HTTP_PROXY_HOST", "value": "mine"}, {"name": "PG_SSL_CERT_FILE", "value": "mine"}]
    made = with_components(tmp_path / "made", ["sidecar"], [deployment("own", env=own)])
    env = application_env(made)
    assert [env["MY_HTTP_PROXY_HOST"], env["PG_SSL_CERT_FILE"]] == ["mine", "mine"]
    assert [env["HTTP_PROXY"], env["SSL_CERT_FILE"]] == ["http://127.0.0.1:7600", "/run/sidecar/ca/bundle.crt"]


def test_lists_of_the_application_keep_what_they_say(tmp_path: Path) -> None:
    own = [{"name": "NO_PROXY", "value": ".corp"}, {"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx1g"}]
    env = application_env(with_components(tmp_path / "made", ["sidecar"], [deployment("own", env=own)]))
    assert env["NO_PROXY"] == "localhost,127.0.0.1,::1,.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST),.corp"
    assert env["JAVA_TOOL_OPTIONS"].startswith("-Dhttp.proxyHost=127.0.0.1 ")
    assert env["JAVA_TOOL_OPTIONS"].endswith(" -Xmx1g")


def test_other_values_of_the_application_give_way_even_those_that_are_references(tmp_path: Path) -> None:
    own = [{"name": "HTTPS_PROXY", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}}}]
    made = with_components(tmp_path / "made", ["sidecar"], [deployment("own", env=own)])
    assert application_env(made)["HTTPS_PROXY"] == "http://127.0.0.1:7600"


@pytest.mark.parametrize(
    ("document", "components", "said"),
    [
        ({"sidecar/mode": "transparant"}, ["sidecar"], "mode is proxy or transparent or base-url"),
        ({"sidecar/form": "nativ"}, ["sidecar"], "form is native or classic"),
        ({}, ["sidecar", "transparent"], "list transparent before sidecar"),
        ({}, ["sidecar", "base-url"], "list base-url before sidecar"),
        ({}, ["sidecar", "classic"], "list classic before sidecar"),
        ({}, ["redis", "sidecar"], "list `sidecar` before"),
        ({}, ["network-policy", "sidecar"], "list `sidecar` before"),
    ],
)
def test_mistakes_end_the_build_with_what_to_do(
    document: dict[str, str], components: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(NotBuilt, match=said):
        with_components(tmp_path / "made", components, [deployment("own", document)])


def test_a_second_time_ends_the_build(tmp_path: Path) -> None:
    """It would undo what a kustomization in between has changed in the sidecar's container."""
    with_components(tmp_path / "once", ["sidecar"], [deployment("own")])
    twice = {"resources": ["../once"], "components": [to(tmp_path / "twice", COMPONENTS / "sidecar")]}
    with pytest.raises(NotBuilt, match="list sidecar once"):
        build(write(tmp_path / "twice", twice))


def test_two_applications_may_share_a_namespace(tmp_path: Path) -> None:
    components = ["sidecar", "secrets", "redis", "supplied-ca", "persistent-state"]
    for name in ("first", "second"):
        with_components(tmp_path / name, components, [deployment(name)])
    both = build(write(tmp_path / "both", {"resources": ["../first", "../second"]}))
    assert [one["metadata"]["name"] for one in both] == ["first", "second"]


def test_a_prefix_and_a_hash_reach_what_the_pod_mounts(tmp_path: Path) -> None:
    kustomization = {
        "namePrefix": "shop-",
        "resources": ["objects.yaml"],
        "configMapGenerator": [{"name": "providers", "literals": ["stripe.yaml={provider: stripe, extends: stripe}"]}],
        "components": [to(tmp_path, COMPONENTS / "sidecar")],
    }
    made = build(write(tmp_path, kustomization, objects=[deployment("own")]))
    (policies,) = (one["metadata"]["name"] for one in made if one["kind"] == "ConfigMap")
    ((_, template),) = pod_templates(made)
    assert policies.startswith("shop-providers-")
    assert policies in [one["configMap"]["name"] for one in template["spec"]["volumes"] if "configMap" in one]


def test_injection_leaves_these_pods_alone(tmp_path: Path) -> None:
    made = with_components(tmp_path / "made", ["sidecar"])
    before = deepcopy(made)
    for document in made:
        assert inject(document, Defaults(), asked=True) == ()
    assert made == before


def test_a_job_with_a_classic_sidecar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotBuilt, match="a Job never completes beside a classic sidecar"):
        with_components(tmp_path / "made", ["classic", "sidecar"])


def test_a_bare_pod_is_refused(tmp_path: Path) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}, "spec": {"containers": []}}
    with pytest.raises(NotBuilt, match="bare Pods are for the command `sidecar inject`"):
        with_components(tmp_path / "made", ["sidecar"], [pod])


def test_a_stateful_set_gets_a_volume_a_pod_beside_its_own(tmp_path: Path) -> None:
    made = {one["metadata"]["name"]: one for one in with_components(tmp_path / "made", ["sidecar", "persistent-state"])}
    claims = [one["metadata"]["name"] for one in made["ledger"]["spec"]["volumeClaimTemplates"]]
    spec = made["ledger"]["spec"]["template"]["spec"]
    assert claims == ["books", "sidecar-state"]
    assert spec["securityContext"]["fsGroup"] == 65532
    assert "sidecar-state" not in [one["name"] for one in spec["volumes"]]
    assert "sidecar-state" in [one["name"] for one in made["shop"]["spec"]["template"]["spec"]["volumes"]]


def test_a_deployment_of_one_pod_gets_a_claim(tmp_path: Path) -> None:
    own = deployment("own")
    made = with_components(tmp_path / "made", ["sidecar", "state-claim"], [own])
    (after,) = (one for one in made if one["kind"] == "Deployment")
    (claim,) = (one for one in made if one["kind"] == "PersistentVolumeClaim")
    spec = after["spec"]["template"]["spec"]
    (state,) = (one for one in spec["volumes"] if one["name"] == "sidecar-state")
    assert state == {"name": "sidecar-state", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert after["spec"]["strategy"] == {"type": "Recreate"}
    assert spec["securityContext"]["fsGroup"] == 65532


@pytest.mark.parametrize("component", ["network-policy", "pod-monitor"])
def test_what_selects_pods_selects_those_with_a_sidecar(component: str, tmp_path: Path) -> None:
    made = with_components(tmp_path / "made", ["sidecar", component])
    (selecting,) = (one["spec"] for one in made if one["metadata"]["name"] == "sidecar")
    labels = (selecting.get("podSelector") or selecting["selector"])["matchLabels"]
    for document, template in pod_templates(made):
        selected = labels.items() <= template["metadata"]["labels"].items()
        assert selected == has_sidecar(template), document["metadata"]["name"]


def test_prometheus_finds_the_admin_port_by_its_name(tmp_path: Path) -> None:
    made = with_components(tmp_path / "made", ["sidecar", "pod-monitor"])
    (monitor,) = (one["spec"] for one in made if one["kind"] == "PodMonitor")
    (endpoint,) = monitor["podMetricsEndpoints"]
    for _, template in pod_templates(made):
        ports = [port for one in containers(template) for port in one.get("ports", [])]
        found = [port["containerPort"] for port in ports if port["name"] == endpoint["port"]]
        assert found == ([7601] if has_sidecar(template) else [])


def test_every_component_is_tried_here() -> None:
    tried = {name for components, _ in WAYS.values() for name in components}
    tried |= {
        "protect",
        "shipped-policies",
        "persistent-state",
        "state-claim",
        "network-policy",
        "pod-monitor",
        "pod-label",
        "after",
        "clear",
    }
    assert {one.name for one in COMPONENTS.iterdir()} == tried


def has_sidecar(template: Object) -> bool:
    return "sidecar" in [one["name"] for one in containers(template)]


def untouched(document: Object) -> bool:
    return pod_template(document) is None or document["metadata"]["name"] == "apart"


def deployment(name: str, annotations: Mapping[str, str] | None = None, env: list[Any] | None = None) -> Object:
    labels = {"app.kubernetes.io/name": name}
    container = {"name": "web", "image": "web:1", **({"env": env} if env else {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **({"annotations": dict(annotations)} if annotations else {})},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def application_env(made: list[Object]) -> dict[str, str]:
    ((_, template),) = pod_templates(made)
    (container,) = template["spec"]["containers"]
    values = {one["name"]: one["value"] for one in container["env"]}
    assert len(values) == len(container["env"]), "a variable is there twice"
    return values
