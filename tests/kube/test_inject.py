"""Injecting: twice is once, out again is as before, and nothing of anybody else's is touched."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.kube.annotations import Defaults
from sidecar.kube.inject import NotInjectable, inject
from sidecar.kube.workloads import TEMPLATES, find_workloads
from tests.kube.pods import (
    DEFAULTS,
    SETTINGS,
    container,
    env_of,
    injected,
    named,
    patiently,
    pod,
    pods,
    taken_out,
    workload,
)


def data(document: Any) -> str:
    """With the order of keys, which a patch or a text would show."""
    return json.dumps(document)


@patiently
@given(pods(), SETTINGS)
def test_twice_is_once(document: dict[str, Any], defaults: Defaults) -> None:
    once = injected(document, defaults)
    assert data(injected(once, defaults)) == data(once)


@patiently
@given(pods(), SETTINGS)
def test_out_again_is_as_before(document: dict[str, Any], defaults: Defaults) -> None:
    out = taken_out(injected(document, defaults))
    if "annotations" not in document["metadata"]:
        assert out["metadata"].pop("annotations") == {}
    assert out == document


@patiently
@given(pods(), SETTINGS, SETTINGS)
def test_other_settings_leave_nothing_of_the_earlier_ones(document: Any, earlier: Defaults, later: Defaults) -> None:
    assert injected(injected(document, earlier), later) == injected(document, later)


@patiently
@given(pods(), SETTINGS)
def test_what_containers_set_themselves_stays(document: dict[str, Any], defaults: Defaults) -> None:
    spec = injected(document, defaults)["spec"]
    for before in document["spec"]["containers"] + (document["spec"].get("initContainers") or []):
        after = named(spec["containers"] + (spec.get("initContainers") or []), before["name"])
        assert env_of(before).items() <= env_of(after).items()
        added = env_of(after).keys() - env_of(before).keys()
        assert not {name.upper() for name in added} & {name.upper() for name in env_of(before)}


@pytest.mark.parametrize("kind", [kind for kind in TEMPLATES if kind != "Pod"])
def test_every_workload_gets_in_its_template_what_a_pod_gets(kind: str) -> None:
    document = injected(workload(kind, pod()))
    (found,) = find_workloads(document)
    assert found.template["spec"] == injected(pod())["spec"]
    assert "sidecar/status" not in document["metadata"].get("annotations", {})


def test_other_kinds_are_left_alone() -> None:
    service = {"kind": "Service", "metadata": {"name": "shop"}, "spec": {"template": {"spec": {"containers": []}}}}
    assert injected(service) == service


def test_lists_in_lists_and_lists_of_a_kind() -> None:
    deployment = workload("Deployment", pod())
    nameless = {key: value for key, value in deployment.items() if key != "kind"}
    inner = {"kind": "DeploymentList", "items": [nameless]}
    found = injected({"kind": "List", "items": [inner, pod(), "no object"]})
    assert found["items"][0]["items"][0]["spec"] == injected(deployment)["spec"]
    assert found["items"][1:] == [injected(pod()), "no object"]


@pytest.mark.parametrize(
    ("said", "asked", "gets"),
    [(None, True, True), (None, False, False), ("true", False, True), ("true", True, True), ("false", True, False)],
)
def test_who_gets_one(said: str | None, asked: bool, gets: bool) -> None:
    document = pod(annotations=None if said is None else {"sidecar/inject": said})
    assert ("initContainers" in injected(document, asked=asked)["spec"]) is gets


def test_the_templates_word_counts_before_the_workloads() -> None:
    document = workload("Deployment", pod(annotations={"sidecar/inject": "true", "sidecar/drain": "3s"}))
    document["metadata"]["annotations"] = {
        "sidecar/inject": "false",
        "sidecar/drain": "9s",
        "sidecar/log-level": "debug",
    }
    spec = injected(document, asked=False)["spec"]["template"]["spec"]
    env = env_of(named(spec["initContainers"], "sidecar"))
    assert (env["SIDECAR_DRAIN"], env["SIDECAR_LOG_LEVEL"]) == ("3s", "debug")


def test_a_cron_job_may_be_annotated_at_any_of_its_levels() -> None:
    document = workload("CronJob", pod())
    document["metadata"]["annotations"] = {"sidecar/log-level": "debug", "sidecar/user": "1000"}
    document["spec"]["jobTemplate"]["metadata"] = {"annotations": {"sidecar/log-level": "error"}}
    spec = injected(document)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    sidecar = named(spec["initContainers"], "sidecar")
    assert env_of(sidecar)["SIDECAR_LOG_LEVEL"] == "error"
    assert sidecar["securityContext"]["runAsUser"] == 1000


def test_an_injected_pod_that_says_nothing_is_left_as_it_is_by_who_was_not_asked() -> None:
    document = injected(pod(), Defaults(log_level="debug"))
    assert injected(document, asked=False) == document


def test_all_problems_at_once_and_nothing_is_changed() -> None:
    bad = pod(annotations={"sidecar/mode": "prxy", "sidecar/polices": "a"}, hostNetwork=True)
    document = {"kind": "List", "items": [pod(), bad, workload("Deployment", pod(container("sidecar")))]}
    before = deepcopy(document)
    with pytest.raises(NotInjectable) as error:
        inject(document, DEFAULTS, asked=True)
    assert document == before
    assert [problem.split(": ")[:2] for problem in error.value.problems[:-1]] == [
        ["pod/shop", "sidecar/polices"],
        ["pod/shop", "sidecar/mode"],
        ["pod/shop", "hostNetwork"],
    ]
    assert error.value.problems[-1].startswith("deployment/shop: a container is called sidecar already")


@pytest.mark.parametrize(
    "status", ["", "{}", "[]", "{", '{"digest":"x","containers":"sidecar"}', '{"digest":"x","env":[]}']
)
def test_a_record_that_cannot_be_read_is_a_problem_and_no_guess(status: str) -> None:
    document = injected(pod())
    document["metadata"]["annotations"]["sidecar/status"] = status
    with pytest.raises(NotInjectable, match="sidecar/status is not as it was written"):
        inject(document, DEFAULTS, asked=True)
    assert injected(document, asked=False) == document


@pytest.mark.parametrize("name", ["spec", "metadata", "container"])
def test_a_container_may_be_called_anything(name: str) -> None:
    document = pod(container(name), annotations={"a": "b"})
    assert taken_out(injected(document)) == document


def test_a_time_to_end_that_was_changed_later_stays() -> None:
    document = injected(pod(), Defaults(form="classic", drain="60s"))
    document["spec"]["terminationGracePeriodSeconds"] = 300
    assert taken_out(document)["spec"]["terminationGracePeriodSeconds"] == 300


def test_a_variable_that_was_added_later_stays() -> None:
    document = injected(pod())
    named(document["spec"]["containers"], "app")["env"].append({"name": "MINE", "value": "1"})
    document["spec"]["volumes"].append({"name": "mine", "emptyDir": {}})
    out = taken_out(document)["spec"]
    assert out == {
        "containers": [container(env=[{"name": "MINE", "value": "1"}])],
        "volumes": [{"name": "mine", "emptyDir": {}}],
    }


@pytest.mark.parametrize(
    ("labels", "name", "service"),
    [
        ({"app.kubernetes.io/name": "ledger", "app": "x"}, "shop-7d9f8", "ledger-sidecar"),
        ({"app": "ledger"}, "shop-7d9f8", "ledger-sidecar"),
        ({}, "shop", "shop-sidecar"),
        ({}, None, "sidecar"),
    ],
)
def test_telemetry_is_called_after_the_application(labels: dict[str, str], name: str | None, service: str) -> None:
    document = pod()
    document["metadata"] = {"labels": labels, **({"name": name} if name else {"generateName": "shop-"})}
    sidecar = named(injected(document)["spec"]["initContainers"], "sidecar")
    assert env_of(sidecar)["OTEL_SERVICE_NAME"] == service


def json_values() -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | st.integers(0, 9000) | st.sampled_from(["app", "sidecar", ""])
    keys = st.sampled_from(
        ["name", "env", "ports", "containerPort", "volumeMounts", "mountPath", "securityContext", "x"]
    )
    return st.recursive(scalars, lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=4))


@patiently
@given(
    st.fixed_dictionaries(
        {"kind": st.just("Pod")},
        optional={
            "metadata": json_values() | st.fixed_dictionaries({"annotations": json_values(), "labels": json_values()}),
            "spec": json_values()
            | st.fixed_dictionaries(
                {"containers": json_values() | st.lists(json_values())},
                optional={
                    "initContainers": json_values(),
                    "volumes": json_values(),
                    "securityContext": json_values(),
                    "nodeSelector": json_values(),
                    "os": json_values(),
                    "terminationGracePeriodSeconds": json_values(),
                },
            ),
        },
    ),
    SETTINGS,
)
def test_whatever_stands_there_is_injected_or_refused(document: dict[str, Any], defaults: Defaults) -> None:
    before = deepcopy(document)
    try:
        inject(document, defaults, asked=True)
    except NotInjectable:
        assert document == before
    else:
        assert "sidecar/status" in document["metadata"]["annotations"]
