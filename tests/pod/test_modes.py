"""An unmodified SDK's calls pass through the sidecar, whichever way the Pod leads them there."""

from __future__ import annotations

import pytest

from tests.pod.answers import admin, more_calls
from tests.pod.cluster import Cluster
from tests.pod.manifests import FOREVER, STRIPE, till

MODES = {
    "proxy": ({"mode": "proxy"}, "connect"),
    "base-url": ({"mode": "base-url", "base_urls": "STRIPE_API_BASE=stripe"}, "reverse"),
    "transparent": ({"mode": "transparent"}, "transparent"),
}


@pytest.mark.parametrize(
    ("mode", "form"),
    [("proxy", "native"), ("base-url", "native"), ("transparent", "native"), ("transparent", "classic")],
)
def test_the_calls_of_an_unmodified_sdk_go_through(here: Cluster, mode: str, form: str) -> None:
    annotations, told = MODES[mode]
    here.policies("providers", stripe=STRIPE)
    before = here.provider.seen()
    pod = here.pod(till(*FOREVER, form=form, **annotations)).running()
    made = more_calls(pod)
    # The application's own view, the sidecar's and the provider's agree.
    assert all("provider=stripe" in one["field"] and "outcome=ok" in one["field"] for one in made)
    known = admin(pod, "/calls")["calls"]
    assert {one["mode"] for one in known} == {told}
    assert {(one["provider"], one["status"]) for one in known} == {("stripe", 200)}
    seen = here.provider.seen()
    assert seen["calls"] - before["calls"] == seen["via"] - before["via"] >= len(made)


def test_the_firewall_leaves_no_way_around_the_sidecar(here: Cluster) -> None:
    """And needs no more than NET_ADMIN, in a container that is gone when the application starts."""
    here.policies("providers", stripe=STRIPE)
    pod = here.pod(till(*FOREVER, mode="transparent")).running()
    assert pod.story()[:5] == [
        "sidecar started",
        "sidecar startup passed",
        "sidecar-firewall started",
        "sidecar-firewall exited 0",
        "app started",
    ]
    assert pod["sidecar-firewall"].document["securityContext"]["capabilities"] == {
        "drop": ["ALL"],
        "add": ["NET_ADMIN"],
    }
    around = (
        "import socket, ssl\n"
        "s = ssl.create_default_context().wrap_socket(socket.create_connection(('api.stripe.com', 443)),"
        " server_hostname='api.stripe.com')\n"
        "print(dict(x[0] for x in s.getpeercert()['issuer']))"
    )
    # Whoever connects finds the pod's own authority at the other end, and not the provider's.
    issuer = pod.execute("app", "python", "-c", around)
    assert "Provider Root" not in issuer
    assert "idecar" in issuer
