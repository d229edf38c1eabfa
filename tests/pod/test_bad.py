"""What a platform engineer may get wrong, or a node may do: what the Pod says then, and what goes on working."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.pod.answers import admin, calls, more_calls, said
from tests.pod.cluster import Cluster, injecting
from tests.pod.manifests import BASE, FOREVER, STRIPE, till
from tests.pod.waiting import until

CACHED = STRIPE + "cache: {store: private}\n"


def changed(manifest: dict[str, Any], **spec: Any) -> dict[str, Any]:
    copied = copy.deepcopy(manifest)
    copied["spec"] |= spec
    return copied


def fill(ballast: Path) -> None:
    """Take all the room that its disk has left."""
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
        file.writelines(itertools.repeat(b"x" * 512))


def test_a_state_volume_that_fills_up_hurts_no_call(here: Cluster) -> None:
    here.policies("providers", stripe=CACHED)
    here.provider.answers(age_s=600)
    volume = here.claim("tiny", size="256Ki")
    pod = here.pod(till(*FOREVER, state="tiny", **BASE)).running()
    more_calls(pod)
    fill(volume / "ballast")
    more_calls(pod, 20)
    warnings = until(lambda: admin(pod, "/readyz?verbose").get("warnings"), what="a warning")
    assert "cache.sqlite" in str(warnings)
    assert pod.get("/readyz")[0] == 200
    assert all(one["ok"] for one in calls(pod))


def test_a_state_volume_that_cannot_be_written_at_the_start_is_named(here: Cluster) -> None:
    here.policies("providers", stripe=STRIPE)
    here.claim("frozen", size="1Mi", read_only=True)
    pod = here.pod(till(*FOREVER, state="frozen", **BASE))
    until(lambda: pod["sidecar"].exit_codes, what="the sidecar to give up")
    assert pod["sidecar"].exit_codes[0] == 2
    assert "/var/lib/sidecar" in pod.logs("sidecar")
    assert "Traceback" not in pod.logs("sidecar")
    assert not pod.happened("app", "started")


def test_a_missing_secret_holds_the_pod_back(here: Cluster) -> None:
    """The kubelet's own doing: a Secret is not optional, since the sidecar could not do its work without."""
    here.policies("providers", stripe=STRIPE)
    pod = here.pod(till(*FOREVER, secrets="roots,later", **BASE))
    until(lambda: pod.trouble, what="the kubelet to miss it")
    assert 'secret "later" not found' in pod.trouble[0]
    here.apply({"kind": "Secret", "metadata": {"name": "later"}, "stringData": {"key": "sk_live_none"}})
    pod.running()
    read = ("python", "-c", "print(open('/etc/sidecar/secrets/later/key').read())")
    assert pod.execute("sidecar", *read) == "sk_live_none"
    assert "No such file" in pod.exec_fails("app", *read)
    assert not any("sk_live_none" in str(line) for line in (*said(pod), *said(pod, "sidecar")))


@pytest.mark.parametrize(
    ("manifest", "word"),
    [
        (changed(till(*FOREVER), hostNetwork=True), "hostNetwork"),
        (changed(till(*FOREVER, mode="transparent"), securityContext={"runAsUser": 65532}), "65532"),
        (till(*FOREVER, mod="transparent"), "sidecar/mode"),
        (till(*FOREVER, mode="transparant"), "transparent"),
    ],
    ids=["host-network", "the-sidecars-user", "annotation-typo", "value-typo"],
)
def test_what_cannot_work_is_refused_before_it_runs(manifest: dict[str, Any], word: str) -> None:
    if word == "65532":
        del manifest["spec"]["containers"][0]["securityContext"]
    done = injecting(manifest)
    assert done.returncode == 1
    assert done.stdout == ""
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_another_user_for_the_sidecar_makes_room_for_an_application_with_its_number(here: Cluster) -> None:
    here.policies("providers", stripe=STRIPE)
    manifest = till(*FOREVER, mode="transparent", user="65533")
    manifest["spec"]["containers"][0]["securityContext"]["runAsUser"] = 65532
    pod = here.pod(manifest).running()
    more_calls(pod)
    assert {one["mode"] for one in admin(pod, "/calls")["calls"]} == {"transparent"}
