"""A Pod goes: no call fails while it does, in either form, and a Job completes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.pod.answers import admin, calls, more_calls, said
from tests.pod.cluster import Cluster
from tests.pod.kubelet import Pod
from tests.pod.manifests import BASE, STRIPE, job, till
from tests.pod.waiting import until

CALLS = 10_000
BEFORE_SIGTERM = 6_000
LAST_S = 3.0
UNBOUND = STRIPE + "limit: off\n"


def under_load(here: Cluster, form: str) -> Pod:
    here.policies("providers", stripe=UNBOUND)
    before = here.provider.seen()["calls"]
    # The usual drain of the classic form, 25 s, would only make the test longer.
    drain = {"drain": "8s"} if form == "classic" else {}
    pod = here.pod(till("/programs/load.py", str(CALLS), str(LAST_S), "4", form=form, **drain, **BASE)).running()
    until(lambda: here.provider.seen()["calls"] - before > BEFORE_SIGTERM, 50, every_s=0.2, what="the load")
    return pod


def load_of(pod: Pod) -> dict[str, Any]:
    *_, told = said(pod)
    assert told["calls"] >= CALLS
    assert told["after_sigterm"] > CALLS - BEFORE_SIGTERM - 2000, told
    return told


@pytest.mark.parametrize("form", ["native", "classic"])
def test_of_ten_thousand_calls_none_fails_while_the_pod_ends(here: Cluster, form: str) -> None:
    pod = under_load(here, form)
    pod.delete()
    assert load_of(pod)["failed"] == {}
    assert pod["app"].exit_codes == [0]
    assert pod["sidecar"].exit_codes == [0]
    assert not pod.happened("sidecar", "kill")
    if form == "native":
        assert pod.at_s("sidecar", "term") >= pod.at_s("app", "exited 0")
        assert pod.at_s("sidecar", "exited 0") - pod.at_s("sidecar", "term") < 3, "there is nobody left to wait for"
    else:
        # Both hear of it at once; the sidecar stays for whoever still calls.
        assert abs(pod.at_s("sidecar", "term") - pod.at_s("app", "term")) < 1
        assert pod.at_s("sidecar", "exited 0") > pod.at_s("app", "exited 0")


@pytest.mark.parametrize("mode", ["proxy", "transparent"])
def test_an_sdk_whose_tls_ends_in_the_sidecar_calls_to_the_last(here: Cluster, mode: str) -> None:
    """In the classic form, where both get SIGTERM at once."""
    here.policies("providers", stripe=UNBOUND)
    pod = here.pod(till("/programs/sdk.py", "forever", "3", form="classic", mode=mode, drain="5s")).running()
    more_calls(pod)
    pod.delete()
    *_, told = said(pod)
    assert told["after_sigterm"] > 10
    assert told["failed"] == 0, [one for one in calls(pod) if not one["ok"]]
    assert (pod["app"].exit_codes, pod["sidecar"].exit_codes) == ([0], [0])


def test_a_draining_sidecar_is_alive_and_no_longer_ready(here: Cluster) -> None:
    here.policies("providers", stripe=UNBOUND)
    pod = here.pod(till("/programs/sdk.py", "forever", form="classic", **BASE)).running()
    pod.signal("sidecar", "TERM")
    until(lambda: pod.get("/readyz")[0] == 503, 3)
    assert pod.get("/livez")[0] == 200
    before = len(calls(pod))
    made = until(lambda: calls(pod)[before + 5 :], what="calls during the drain")
    assert all(one["ok"] for one in made)
    assert [check["name"] for check in admin(pod, "/readyz?verbose")["checks"] if not check["ok"]] == ["drain"]


def test_a_job_completes(here: Cluster) -> None:
    here.policies("providers", stripe=UNBOUND)
    pod = here.pod(job("/programs/sdk.py", "job", "25"))
    until(lambda: pod.happened("pod", "completed"), 40, what="the Job to complete")
    assert pod["app"].exit_codes == [0]
    assert len(calls(pod)) == 25
    assert pod["sidecar"].exit_codes == [0]
    assert pod.at_s("sidecar", "exited 0") - pod.at_s("app", "exited 0") < 3
    assert pod.at_s("pod", "completed") <= time.monotonic()


def test_a_job_whose_application_fails_ends_too(here: Cluster) -> None:
    here.policies("providers", stripe=UNBOUND)
    here.provider.answers(status=400)
    pod = here.pod(job("/programs/sdk.py", "job", "3"))
    until(lambda: pod.happened("pod", "completed"), 40, what="the Job to end")
    assert (pod["app"].exit_codes, pod["sidecar"].exit_codes) == ([1], [0])
