"""Policies come by ConfigMap: late, broken, mended and changed, while the application calls."""

from __future__ import annotations

import json
import time
from functools import partial

from tests.pod.answers import admin, calls, more_calls, said
from tests.pod.cluster import Cluster
from tests.pod.kubelet import Pod
from tests.pod.manifests import BASE, BROKEN, FOREVER, NAMED, STRIPE, till
from tests.pod.waiting import until


def test_a_swap_takes_effect_within_two_seconds_and_no_call_fails(here: Cluster) -> None:
    here.policies("providers", stripe=STRIPE)
    pod = here.pod(till(*FOREVER, **BASE)).running()
    assert all('route="-"' in one["field"] for one in more_calls(pod))
    for policy, route in ((NAMED, 'route="customer"'), (STRIPE, 'route="-"')):
        here.policies("providers", stripe=policy)
        pod.sync_volumes()
        swapped_s = time.monotonic()
        until(partial(in_force, pod, route), 2, what="the new policy in force")
        print(f"in force {time.monotonic() - swapped_s:.2f} s after the swap")
        assert all(route in one["field"] for one in more_calls(pod))
    made = calls(pod)
    assert all(one["ok"] for one in made), [one for one in made if not one["ok"]]
    assert pod["sidecar"].restarts == 0


def in_force(pod: Pod, route: str) -> bool:
    """Whether the latest call took it; `route` as the field has it."""
    return f'route="{admin(pod, "/calls?limit=1")["calls"][0]["route"]}"' == route


def test_a_swap_to_a_broken_policy_changes_nothing_but_the_report(here: Cluster) -> None:
    here.policies("providers", stripe=NAMED)
    pod = here.pod(till(*FOREVER, **BASE)).running()
    here.policies("providers", stripe=BROKEN)
    pod.sync_volumes()
    errors = until(lambda: admin(pod, "/policies")["errors"], 5, what="the mistake to be reported")
    assert "attempts" in json.dumps(errors)
    assert all('route="customer"' in one["field"] for one in more_calls(pod))
    assert pod.get("/readyz")[0] == 200


def test_a_broken_policy_at_the_first_start_holds_the_application_back_until_it_is_mended(here: Cluster) -> None:
    here.policies("providers", stripe=BROKEN)
    pod = here.pod(till(*FOREVER, **BASE))
    until(lambda: pod.get("/startupz")[0] == 503, what="the sidecar to say that it waits")
    status, reason = pod.get("/readyz?verbose")
    assert status == 503
    assert "attempts" in reason.decode(), "it says what is wrong"
    assert pod.get("/livez")[0] == 200, "nothing is mended by killing it"
    assert not pod.happened("app", "started")
    assert any("attempts" in json.dumps(line) for line in said(pod, "sidecar"))
    here.policies("providers", stripe=NAMED)
    pod.sync_volumes()
    pod.running(15)
    assert all('route="customer"' in one["field"] for one in more_calls(pod))
    assert pod["sidecar"].restarts == 0


def test_a_missing_configmap_is_waited_for(here: Cluster) -> None:
    pod = here.pod(till(*FOREVER, policies="not-yet", **BASE))
    until(lambda: pod.get("/startupz")[0] == 503, what="the sidecar to say that it waits")
    status, reason = pod.get("/readyz?verbose")
    assert status == 503
    assert "/etc/sidecar/policies/not-yet" in reason.decode()
    assert not pod.happened("app", "started")
    here.policies("not-yet", stripe=STRIPE)
    pod.sync_volumes()
    pod.running(15)
    more_calls(pod)


def test_policies_may_come_from_several_configmaps(here: Cluster) -> None:
    here.policies("providers", stripe=STRIPE)
    here.policies("house", defaults="timeouts: {total: 7s}\n")
    pod = here.pod(till(*FOREVER, policies="house,providers", **BASE)).running()
    more_calls(pod)
    assert admin(pod, "/policies")["errors"] == []
    # The application can be told apart from the sidecar, whose mounts these are.
    assert "No such file" in pod.exec_fails("app", "python", "-c", "open('/etc/sidecar/policies/house/defaults.yaml')")
