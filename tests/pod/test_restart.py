"""Only the sidecar's container dies: the kubelet starts it again, and the application hardly notices."""

from __future__ import annotations

import os
import signal

from tests.pod.answers import admin, calls, more_calls
from tests.pod.cluster import Cluster
from tests.pod.kubelet import Pod
from tests.pod.manifests import BASE, FOREVER, STRIPE, till
from tests.pod.waiting import until

CACHED = STRIPE + "cache: {store: private}\n"
TRIPPING = STRIPE + (
    "retry: off\n"
    "breaker: {consecutive: 3, open: {base: 120s, cap: 120s}}\n"
    "routes:\n"
    "  - name: charges\n    match: {method: GET, path: /v1/charges}\n"
)


def killed(pod: Pod) -> None:
    """kill -9 of the sidecar's first process; it is back and ready when this returns."""
    os.kill(pod["sidecar"].pid, signal.SIGKILL)
    until(lambda: pod["sidecar"].restarts == 1 and pod.get("/readyz")[0] == 200, what="the sidecar to be back")


def test_the_application_recovers_without_a_restart_and_trusts_the_same_authority(here: Cluster) -> None:
    here.policies("providers", stripe=STRIPE)
    pod = here.pod(till(*FOREVER)).running()
    more_calls(pod)
    authority = pod.execute("app", "python", "-c", "print(open('/run/sidecar/ca/ca.crt').read())")
    killed(pod)
    until(lambda: calls(pod)[-1]["ok"], what="calls to go well again")
    more_calls(pod, 20)
    assert pod["app"].restarts == 0
    assert pod["sidecar"].exit_codes == [137]
    assert pod.execute("app", "python", "-c", "print(open('/run/sidecar/ca/ca.crt').read())") == authority


def test_kept_replies_survive(here: Cluster) -> None:
    here.policies("providers", stripe=CACHED)
    here.provider.answers(age_s=600)
    pod = here.pod(till(*FOREVER, **BASE)).running()
    more_calls(pod, 3)
    first = get(pod, "/v1/customers/cus_1")
    until(lambda: on_disk(pod) >= 4, what="kept replies on disk")
    killed(pod)
    here.provider.answers(status=503)
    assert get(pod, "/v1/customers/cus_1") == first
    assert "200" in first


def test_an_open_breaker_stays_open(here: Cluster) -> None:
    here.policies("providers", stripe=TRIPPING)
    here.provider.answers(status=503)
    pod = here.pod(till("/programs/idle.py", **BASE)).running()
    for _ in range(3):
        get(pod, "/v1/charges")
    assert "open" in states(pod)
    # It is written behind the calls' backs, once a second at the most.
    until(
        lambda: b"charges" in (pod.volume("sidecar-state") / "breakers.json").read_bytes(), what="the breaker on disk"
    )
    killed(pod)
    assert "open" in states(pod)
    here.provider.answers()
    before = here.provider.seen()["calls"]
    assert "breaker-open" in get(pod, "/v1/charges")
    assert here.provider.seen()["calls"] == before


def states(pod: Pod) -> set[str]:
    return {one["state"] for one in admin(pod, "/breakers")["breakers"]}


def get(pod: Pod, path: str) -> str:
    """Status and body of a call of the application's, with an HTTP client that keeps nothing."""
    program = (
        "import http.client\n"
        "c = http.client.HTTPConnection('127.0.0.1', 7600, timeout=15)\n"
        f"c.request('GET', '/stripe{path}', headers={{'Authorization': 'Bearer sk_test_none'}})\n"
        "r = c.getresponse()\n"
        "print(r.status, r.read().decode())"
    )
    return pod.execute("app", "python", "-c", program)


def on_disk(pod: Pod) -> int:
    return sum(store["entries"] for store in admin(pod, "/cache")["stores"] if store["tier"] == "disk")
