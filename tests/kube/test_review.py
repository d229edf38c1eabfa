from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.kube import review as module
from sidecar.kube.admission import read_review
from sidecar.kube.annotations import Defaults
from sidecar.kube.inject import NotInjectable, inject
from sidecar.kube.review import Fail, Result, Reviewed, Rules, check, review
from tests.kube.recorded import (
    NAMES,
    SECRETS,
    TOKEN_PATH,
    admitted,
    body_of,
    defaulted,
    messages,
    patch_of,
    recorded,
    template_of,
    with_tokens,
)

OPEN, CLOSED = Rules(Defaults()), Rules(Defaults(), Fail.CLOSED)
INJECTED = {
    "cronjob",
    "daemonset",
    "deployment",
    "deployment-annotated-outside",
    "deployment-update",
    "job",
    "pod",
    "pod-dry-run",
    "pod-init-containers",
    "pod-istio",
    "pod-transparent",
    "replicaset",
    "replicationcontroller",
    "statefulset",
}
UNFIT = {"job-classic", "pod-host-network", "pod-typo"}
SKIPPED = {"configmap", "pod-delete", "pod-ephemeral-container", "pod-update", "replicaset-of-deployment"}


def reviewed(document: dict[str, Any], rules: Rules = OPEN, *, every: bool = False) -> Reviewed:
    return review(read_review(body_of(document)), rules, every=every)


def checked(document: dict[str, Any], rules: Rules = OPEN) -> Reviewed:
    return check(read_review(body_of(document)), rules)


def annotated(name: str = "pod", **annotations: str | None) -> dict[str, Any]:
    """A recorded review with annotations changed; `inject` for `sidecar/inject`, None to take one out."""
    document = recorded(name)
    metadata = template_of(document["request"]["object"])["metadata"]
    found = metadata.get("annotations", {}) | {f"sidecar/{key.replace('_', '-')}": v for key, v in annotations.items()}
    metadata["annotations"] = {key: value for key, value in found.items() if value is not None}
    return document


def test_every_recorded_review_is_of_one_sort() -> None:
    assert set(NAMES) == INJECTED | UNFIT | SKIPPED | {"pod-not-asked"}


@pytest.mark.parametrize("rules", [OPEN, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize("name", NAMES)
def test_every_answer_echoes_the_uid_and_shows_no_value_of_the_pod(name: str, rules: Rules) -> None:
    document = recorded(name)
    for outcome in (reviewed(document, rules), reviewed(document, rules, every=True), checked(document, rules)):
        assert outcome.answer["response"]["uid"] == document["request"]["uid"]
        assert not any(secret in messages(outcome.answer) + repr(outcome) for secret in SECRETS)
        json.dumps(outcome.answer)


@pytest.mark.parametrize("name", sorted(INJECTED))
def test_what_asks_is_injected(name: str) -> None:
    document = recorded(name)
    outcome = reviewed(document)
    assert outcome.result is Result.INJECTED
    expected = deepcopy(document["request"]["object"])
    inject(expected, Defaults(), asked=False)
    assert admitted(document, outcome.answer) == expected
    [first, *_] = template_of(expected)["spec"]["initContainers"]
    assert (first["name"], first["restartPolicy"]) == ("sidecar", "Always")


@pytest.mark.parametrize("version", ["1.29", "1.37"])
@pytest.mark.parametrize("name", sorted(INJECTED))
def test_what_was_injected_is_what_the_api_takes(name: str, version: str) -> None:
    document = recorded(name)
    kubernetes_validate.validate(admitted(document, reviewed(document).answer), version, strict=True)


@pytest.mark.parametrize("name", sorted(SKIPPED | {"pod-not-asked"}))
def test_what_does_not_ask_or_is_not_ours_is_left_alone(name: str) -> None:
    outcome = reviewed(recorded(name), CLOSED)
    assert outcome.answer["response"].keys() == {"uid", "allowed"}
    assert outcome.answer["response"]["allowed"] is True


@pytest.mark.parametrize("name", sorted(UNFIT))
def test_what_cannot_be_injected_is_let_in_with_warnings_or_kept_out(name: str) -> None:
    passed, refused = reviewed(recorded(name), OPEN), reviewed(recorded(name), CLOSED)
    assert (passed.result, passed.answer["response"]["allowed"], patch_of(passed.answer)) == (Result.PASSED, True, [])
    assert passed.answer["response"]["warnings"][0].startswith("sidecar: not injected: ")
    assert (refused.result, refused.answer["response"]["allowed"]) == (Result.REFUSED, False)
    assert refused.problems == passed.problems != ()
    assert all(problem in refused.answer["response"]["status"]["message"] for problem in refused.problems)


def test_all_typos_are_said_at_once_with_what_was_meant() -> None:
    message = reviewed(recorded("pod-typo"), CLOSED).answer["response"]["status"]["message"]
    assert "sidecar/polices: there is no such annotation; did you mean sidecar/policies?" in message
    assert "did you mean proxy?" in message


def test_a_switch_with_a_typo_is_not_taken_for_no() -> None:
    outcome = reviewed(annotated(inject="True"), CLOSED)
    assert outcome.result is Result.REFUSED
    assert "sidecar/inject" in outcome.problems[0]


def test_every_pod_but_those_that_say_no() -> None:
    assert reviewed(recorded("pod-not-asked"), every=True).result is Result.INJECTED
    assert reviewed(annotated("pod-not-asked", inject="false"), every=True).result is Result.UNCHANGED


def test_a_dry_run_is_answered_like_any_other() -> None:
    document = recorded("pod-dry-run")
    assert document["request"]["dryRun"] is True
    wet = deepcopy(document)
    wet["request"]["dryRun"] = False
    assert reviewed(document).answer == reviewed(wet).answer


@pytest.mark.parametrize("name", sorted(INJECTED))
def test_what_has_been_injected_gets_an_empty_patch(name: str) -> None:
    document = recorded(name)
    document["request"]["object"] = admitted(document, reviewed(document).answer)
    assert reviewed(document).result is Result.UNCHANGED
    document["request"]["object"] = defaulted(document["request"]["object"])
    again = reviewed(document)
    assert (again.result, patch_of(again.answer)) == (Result.UNCHANGED, [])


def test_a_second_review_takes_the_token_of_the_api_from_the_sidecar_and_nothing_else() -> None:
    document = recorded("pod-init-containers")
    once = admitted(document, reviewed(document).answer)
    document["request"]["object"] = with_tokens(defaulted(once))
    twice = admitted(document, reviewed(document).answer)
    assert twice == defaulted(once)
    sidecar, migrate = twice["spec"]["initContainers"]
    assert TOKEN_PATH not in str(sidecar["volumeMounts"])
    assert TOKEN_PATH in str(migrate["volumeMounts"])


def test_limits_that_a_limit_range_gave_the_sidecar_stay() -> None:
    document = recorded("pod")
    once = defaulted(admitted(document, reviewed(document).answer))
    once["spec"]["initContainers"][0]["resources"]["limits"]["cpu"] = "1"
    document["request"]["object"] = once
    assert reviewed(document).result is Result.UNCHANGED


def test_a_container_that_came_between_two_reviews_is_led_through_the_sidecar_too() -> None:
    document = recorded("pod")
    once = admitted(document, reviewed(document).answer)
    once["spec"]["containers"].append({"name": "late", "image": "late:1"})
    document["request"]["object"] = once
    late = admitted(document, reviewed(document).answer)["spec"]["containers"][1]
    assert "HTTPS_PROXY" in {variable["name"] for variable in late["env"]}


def test_changed_annotations_of_a_workload_change_what_was_injected() -> None:
    document = recorded("deployment-update")
    document["request"]["object"] = defaulted(admitted(document, reviewed(document).answer))
    template_of(document["request"]["object"])["metadata"]["annotations"]["sidecar/mode"] = "base-url"
    changed = admitted(document, reviewed(document).answer)
    assert "HTTPS_PROXY" not in json.dumps(template_of(changed)["spec"]["containers"])


@pytest.mark.parametrize(
    ("rules", "result"),
    [
        (Rules(Defaults(), excluded=frozenset({"shop"})), Result.SKIPPED),
        (Rules(Defaults(), namespaces=frozenset({"other"})), Result.SKIPPED),
        (Rules(Defaults(), namespaces=frozenset({"shop", "other"})), Result.INJECTED),
        (Rules(Defaults(), namespaces=frozenset({"shop"}), excluded=frozenset({"shop"})), Result.SKIPPED),
    ],
)
def test_namespaces(rules: Rules, result: Result) -> None:
    assert reviewed(recorded("pod"), rules).result is result
    assert checked(recorded("deployment"), rules).result in (Result.SKIPPED, Result.CHECKED)


@pytest.mark.parametrize(
    "metadata",
    [{"deletionTimestamp": "2026-11-20T09:14:03Z"}, {"annotations": {"kubernetes.io/config.mirror": "a1b2"}}],
    ids=["deleted", "mirror"],
)
def test_what_is_going_away_or_static_is_left_alone(metadata: dict[str, Any]) -> None:
    document = annotated()
    found = document["request"]["object"]["metadata"]
    found |= {**metadata, "annotations": found["annotations"] | metadata.get("annotations", {})}
    assert reviewed(document, CLOSED).result is Result.SKIPPED


def test_a_job_that_is_there_cannot_be_changed() -> None:
    document = recorded("job")
    document["request"]["operation"] = "UPDATE"
    assert reviewed(document).result is Result.SKIPPED


def test_defaults_count_where_a_pod_says_nothing() -> None:
    rules = Rules(Defaults(image="mirror/sidecar:9", policies="common"))
    pod = admitted(document := annotated(policies=None), reviewed(document, rules).answer)
    assert pod["spec"]["initContainers"][0]["image"] == "mirror/sidecar:9"
    assert "sidecar-policies-common" in {volume["name"] for volume in pod["spec"]["volumes"]}


@pytest.mark.parametrize("rules", [OPEN, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize("decide", [reviewed, checked])
def test_a_fault_of_ours_follows_the_setting_and_shows_nothing(
    decide: Any, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **extra: Any) -> None:
        raise KeyError(SECRETS[0])

    monkeypatch.setattr(module, "inject", broken)
    outcome = decide(recorded("deployment"), rules)
    assert outcome.answer["response"]["allowed"] is (rules is OPEN)
    assert isinstance(outcome.fault, KeyError)
    assert SECRETS[0] not in json.dumps(outcome.answer)
    if rules is CLOSED:
        assert outcome.answer["response"]["status"]["code"] == 500


@pytest.mark.parametrize(
    "settings",
    ["SIDECAR_ADMIN_TOKEN={}", "SIDECAR_GRCE={}", "{}", "SIDECAR_ADMIN={}", "SIDECAR_REDIS=redis://u:{}@h:x"],
)
def test_what_was_written_among_the_settings_is_never_shown(settings: str) -> None:
    document = annotated(env=settings.format(SECRETS[0]))
    for outcome in (reviewed(document, OPEN), reviewed(document, CLOSED), checked(document)):
        assert outcome.problems
        assert SECRETS[0] not in messages(outcome.answer) + str(outcome.problems)


def test_a_check_changes_nothing_and_says_what_injection_would() -> None:
    for name in NAMES:
        outcome = checked(recorded(name))
        assert outcome.answer["response"]["allowed"] is True
        assert patch_of(outcome.answer) == []
    assert checked(recorded("job-classic"), CLOSED).result is Result.REFUSED
    assert "did you mean" in messages(checked(annotated("deployment", mode="proxi")).answer)


def test_a_check_never_stops_an_update() -> None:
    document = recorded("job-classic")
    document["request"]["operation"] = "UPDATE"
    assert checked(document, CLOSED).result is Result.SKIPPED
    document = annotated("deployment-update", mode="proxi")
    outcome = checked(document, CLOSED)
    assert (outcome.result, outcome.answer["response"]["allowed"]) == (Result.PASSED, True)
    document["request"]["operation"] = "CREATE"
    assert checked(document, CLOSED).result is Result.REFUSED


def test_a_check_finds_annotations_that_pods_will_not_have() -> None:
    [warning] = checked(recorded("deployment-annotated-outside")).answer["response"]["warnings"]
    assert warning == (
        "sidecar: sidecar/inject, sidecar/policies: the injector sees pods only, so write it under "
        "spec.template.metadata.annotations"
    )
    assert "warnings" not in checked(recorded("deployment")).answer["response"]
    document = recorded("deployment-annotated-outside")
    document["request"]["object"] = admitted(document, reviewed(document).answer)
    assert "warnings" not in checked(document).answer["response"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "x", "sidecar", "true"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "env", "value", "spec", "containers", "metadata"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
PATHS = st.sampled_from(
    [
        ("metadata",),
        ("metadata", "annotations"),
        ("metadata", "annotations", "sidecar/inject"),
        ("metadata", "annotations", "sidecar/status"),
        ("metadata", "ownerReferences"),
        ("spec",),
        ("spec", "containers"),
        ("spec", "initContainers"),
        ("spec", "volumes"),
        ("spec", "terminationGracePeriodSeconds"),
        ("kind",),
    ]
)


@settings(max_examples=150)
@given(PATHS, JSON, st.sampled_from([OPEN, CLOSED]))
def test_a_pod_may_be_anything_and_there_is_an_answer(path: tuple[str, ...], value: Any, rules: Rules) -> None:
    document = recorded("pod-init-containers")
    *outer, last = path
    holder = document["request"]["object"]
    for key in outer:
        holder = holder[key]
    holder[last] = value
    outcome = reviewed(document, rules)
    if outcome.answer["response"]["allowed"]:
        admitted(document, outcome.answer)
    assert not any(secret in messages(outcome.answer) for secret in SECRETS)


@pytest.mark.parametrize("rules", [OPEN, CLOSED], ids=["open", "closed"])
def test_a_pod_of_any_depth_has_an_answer(rules: Rules) -> None:
    document = recorded("pod")
    deep: Any = {}
    for _ in range(900):
        deep = {"f:spec": deep}
    document["request"]["object"]["metadata"]["managedFields"] = [{"fieldsV1": deep}]
    response = reviewed(document, rules).answer["response"]
    assert response["allowed"] is (rules is OPEN)
    assert "fault of the injector's own" in messages({"response": response})


def test_the_exception_of_injection_is_what_is_caught() -> None:
    with pytest.raises(NotInjectable):
        inject(recorded("pod-typo")["request"]["object"], Defaults(), asked=False)
