"""Where pods are found in documents, and what they are called."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.kube.workloads import config_maps, find_workloads
from tests.kube.pods import pod, workload


@pytest.mark.parametrize(
    "document",
    [
        None,
        "Pod",
        [],
        {},
        {"kind": 1},
        {"kind": "Deployment"},
        {"kind": "Deployment", "spec": []},
        {"kind": "Deployment", "spec": {"template": None}},
        {"kind": "CronJob", "spec": {"jobTemplate": {"spec": "x"}}},
        {"kind": "List", "items": "none"},
        {"kind": "Service", "spec": {"template": {}}},
    ],
)
def test_there_is_nothing_in(document: object) -> None:
    assert list(find_workloads(document)) == []


@pytest.mark.parametrize(
    ("metadata", "title"),
    [
        ({"name": "shop"}, "pod/shop"),
        ({"name": "shop", "namespace": "prod"}, "pod/shop in prod"),
        ({"generateName": "shop-"}, "pod/shop-"),
        (None, "pod/without a name"),
    ],
)
def test_what_it_is_called(metadata: dict[str, str] | None, title: str) -> None:
    (found,) = find_workloads({"kind": "Pod", "metadata": metadata, "spec": {}})
    assert found.title == title


def test_only_our_annotations_count_from_outside_and_never_the_record() -> None:
    document = workload("Deployment", pod(annotations={"sidecar/mode": "proxy", "other": "1"}))
    document["metadata"]["annotations"] = {
        "sidecar/mode": "x",
        "sidecar/form": "classic",
        "sidecar/status": "{}",
        "a": "b",
    }
    (found,) = find_workloads(document)
    assert found.annotations == {"sidecar/mode": "proxy", "sidecar/form": "classic", "other": "1"}


@pytest.mark.parametrize(
    ("document", "completes"),
    [
        (pod(), False),
        (pod(restartPolicy="Never"), True),
        (pod(restartPolicy="OnFailure"), True),
        (workload("Job", pod()), True),
        (workload("CronJob", pod()), True),
        (workload("Deployment", pod()), False),
    ],
)
def test_which_pods_are_to_end(document: dict[str, Any], completes: bool) -> None:
    (found,) = find_workloads(document)
    assert found.completes is completes


def test_config_maps_in_lists() -> None:
    one, two = ({"kind": "ConfigMap", "metadata": {"name": name}} for name in ("one", "two"))
    assert list(config_maps({"kind": "List", "items": [one, None, {"kind": "List", "items": [two, pod()]}]})) == [
        "one",
        "two",
    ]
