"""What is put into a pod, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.exports import exports
from sidecar.kube.annotations import Defaults
from sidecar.kube.names import policies_volume, secret_volume
from tests.kube.pods import container, env_of, injected, named, pod, taken_out

CLASSIC = Defaults(form="classic")


def names(spec: dict[str, Any], key: str) -> list[str]:
    return [one["name"] for one in spec.get(key, [])]


@pytest.mark.parametrize(
    ("mode", "form", "inits", "containers"),
    [
        ("proxy", "native", ["sidecar", "migrate"], ["app"]),
        ("transparent", "native", ["sidecar", "sidecar-firewall", "migrate"], ["app"]),
        ("base-url", "native", ["sidecar", "migrate"], ["app"]),
        ("proxy", "classic", ["migrate"], ["sidecar", "app"]),
        ("transparent", "classic", ["migrate", "sidecar-firewall"], ["sidecar", "app"]),
        ("base-url", "classic", ["migrate"], ["sidecar", "app"]),
    ],
)
def test_the_order(mode: str, form: str, inits: list[str], containers: list[str]) -> None:
    spec = injected(pod(initContainers=[container("migrate")]), Defaults(mode=mode, form=form))["spec"]
    assert names(spec, "initContainers") == inits
    assert names(spec, "containers") == containers


def test_a_native_sidecar_stays_and_gates_what_follows() -> None:
    sidecar = injected(pod())["spec"]["initContainers"][0]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["httpGet"] == {"path": "/startupz", "port": 7601}
    assert env_of(sidecar)["SIDECAR_DRAIN"] == "0s"
    assert "lifecycle" not in sidecar


def test_a_classic_one_holds_the_application_back_and_serves_on() -> None:
    sidecar = injected(pod(), CLASSIC)["spec"]["containers"][0]
    command = sidecar["lifecycle"]["postStart"]["exec"]["command"]
    assert command == ["sidecar", "probe", "startup", "--wait", "60s"]
    assert env_of(sidecar)["SIDECAR_DRAIN"] == "25s"
    assert "restartPolicy" not in sidecar


@pytest.mark.parametrize(
    ("given", "defaults", "after"),
    [
        (None, CLASSIC, None),
        (10, CLASSIC, 30),
        (90, CLASSIC, 90),
        (None, Defaults(form="classic", drain="60s"), 65),
        (None, Defaults(form="classic", env="SIDECAR_GRACE=7500ms"), 34),
        (2, Defaults(), 2),
    ],
)
def test_the_pod_is_given_the_time_that_the_sidecar_takes(
    given: int | None, defaults: Defaults, after: int | None
) -> None:
    document = pod() if given is None else pod(terminationGracePeriodSeconds=given)
    assert injected(document, defaults)["spec"].get("terminationGracePeriodSeconds") == after


def test_the_time_that_was_given_comes_back() -> None:
    for given in (10, None):
        document = pod(terminationGracePeriodSeconds=given)
        defaults = Defaults(form="classic", drain="60s")
        assert injected(document, defaults)["spec"]["terminationGracePeriodSeconds"] == 65
        assert taken_out(injected(document, defaults))["spec"] == document["spec"]


def test_proxy_variables_are_those_of_the_command_and_keep_the_cluster_direct() -> None:
    env = env_of(named(injected(pod())["spec"]["containers"], "app"))
    assert env.keys() == exports_of_the_command()
    assert env["HTTPS_PROXY"] == env["https_proxy"] == "http://127.0.0.1:7600"
    assert env["NO_PROXY"].endswith(",.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST)")
    assert env["SSL_CERT_FILE"] == "/run/sidecar/ca/bundle.crt"


def exports_of_the_command() -> set[str]:
    from pathlib import Path

    from sidecar.address import Address

    return set(exports(Address("127.0.0.1", 7600), Path("/run/sidecar/ca")))


def test_redirected_containers_get_certificates_only() -> None:
    env = env_of(named(injected(pod(), Defaults(mode="transparent"))["spec"]["containers"], "app"))
    assert "SSL_CERT_FILE" in env
    assert not [name for name in env if "PROXY" in name.upper() or name == "JAVA_TOOL_OPTIONS"]


def test_base_urls_lead_to_loopback() -> None:
    urls = "STRIPE_API_BASE=stripe,OPENAI_BASE_URL=openai/v1"
    env = env_of(named(injected(pod(), Defaults(mode="base-url", base_urls=urls))["spec"]["containers"], "app"))
    assert env == {
        "SIDECAR_URL": "http://127.0.0.1:7600",
        "STRIPE_API_BASE": "http://127.0.0.1:7600/stripe",
        "OPENAI_BASE_URL": "http://127.0.0.1:7600/openai/v1",
    }
    assert "STRIPE_API_BASE" in env_of(named(injected(pod(), Defaults(base_urls=urls))["spec"]["containers"], "app"))


@pytest.mark.parametrize(
    ("defaults", "led"),
    [
        (Defaults(), {"migrate", "app", "worker"}),
        (CLASSIC, {"app", "worker"}),
        (Defaults(containers="app"), {"app"}),
        (Defaults(containers="app,migrate"), {"app", "migrate"}),
        (Defaults(containers="app,vault-agent"), {"app", "vault-agent"}),
    ],
)
def test_whose_calls_go_through_it(defaults: Defaults, led: set[str]) -> None:
    document = pod(
        container(),
        container("worker"),
        container("vault-agent"),
        initContainers=[container("migrate"), container("istio-init")],
    )
    spec = injected(document, defaults)["spec"]
    every = spec["initContainers"] + spec["containers"]
    ours = {"sidecar", "sidecar-firewall"}
    assert {one["name"] for one in every if "HTTPS_PROXY" in env_of(one)} == led
    assert {one["name"] for one in every if "volumeMounts" in one} - ours == led


def test_the_application_sees_the_certificates_and_nothing_else_of_ours() -> None:
    spec = injected(pod(), Defaults(policies="a", secrets="b"))["spec"]
    app = named(spec["containers"], "app")
    assert app["volumeMounts"] == [{"name": "sidecar-ca", "mountPath": "/run/sidecar/ca", "readOnly": True}]
    assert names(spec, "volumes") == ["sidecar-ca", "sidecar-state", "sidecar-policies-a", "sidecar-secret-b"]


def test_policies_of_several_config_maps_none_of_which_must_be_there() -> None:
    spec = injected(pod(), Defaults(policies="one,two.three"))["spec"]
    sidecar = spec["initContainers"][0]
    assert env_of(sidecar)["SIDECAR_POLICIES"] == "/etc/sidecar/policies/one:/etc/sidecar/policies/two.three"
    by_volume = {mount["name"]: mount["mountPath"] for mount in sidecar["volumeMounts"]}
    for one in ("one", "two.three"):
        volume = named(spec["volumes"], policies_volume(one))
        assert volume["configMap"] == {"name": one, "optional": True}
        assert by_volume[policies_volume(one)] == f"/etc/sidecar/policies/{one}"


def test_without_config_maps_the_shipped_packs_are_in_force() -> None:
    assert "SIDECAR_POLICIES" not in env_of(injected(pod())["spec"]["initContainers"][0])


@pytest.mark.parametrize("name", ["a", "a.b", "x" * 253, "x" * 45 + "-", "a.b-c"])
def test_a_volumes_name_is_a_label_whatever_it_is_of(name: str) -> None:
    for made in (policies_volume(name), secret_volume(name)):
        assert len(made) <= 63
        assert "." not in made
    assert policies_volume("a.b") != policies_volume("a-b")


def test_a_claim_in_place_of_a_directory_that_goes_with_the_pod() -> None:
    volume = named(
        injected(pod(securityContext={"fsGroup": 1}), Defaults(state="claim"))["spec"]["volumes"], "sidecar-state"
    )
    assert volume == {"name": "sidecar-state", "persistentVolumeClaim": {"claimName": "claim"}}


def test_further_settings_and_those_from_secrets() -> None:
    env = "OTEL_RESOURCE_ATTRIBUTES=team=a,tier=b,OTEL_SERVICE_NAME=other,SIDECAR_ADMIN_TOKEN=secret:tokens/admin"
    found = env_of(injected(pod(), Defaults(env=env))["spec"]["initContainers"][0])
    assert found["OTEL_RESOURCE_ATTRIBUTES"].endswith(",k8s.container.name=sidecar,team=a,tier=b")
    assert found["OTEL_SERVICE_NAME"] == "other"
    assert found["SIDECAR_ADMIN_TOKEN"] == {"secretKeyRef": {"name": "tokens", "key": "admin"}}


def test_the_firewall_alone_has_a_capability_and_spares_who_must_get_out() -> None:
    defaults = Defaults(mode="transparent", exclude_ports="5432", exclude_networks="none", user="2000")
    inits = injected(pod(container("istio-proxy"), container()), defaults)["spec"]["initContainers"]
    sidecar, firewall = named(inits, "sidecar"), named(inits, "sidecar-firewall")
    assert firewall["args"] == ["firewall", "up", "--uid", "2000,1337", "--exclude-port", "5432"]
    assert firewall["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert sidecar["securityContext"] == {
        "runAsUser": 2000,
        "runAsGroup": 2000,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert env_of(sidecar)["SIDECAR_TRANSPARENT"] == env_of(firewall)["SIDECAR_TRANSPARENT"] == ":7603"


def test_resources_as_they_are_asked_for() -> None:
    resources = injected(pod(), Defaults(cpu="1/2", memory="1Gi"))["spec"]["initContainers"][0]["resources"]
    assert resources == {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    assert "cpu" not in injected(pod())["spec"]["initContainers"][0]["resources"]["limits"]
