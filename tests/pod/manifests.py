"""An application's manifests as its developer wrote them, and the policies that its platform engineer mounts."""

from __future__ import annotations

from typing import Any

from tests.pod.cluster import APP_IMAGE

STRIPE = """\
provider: stripe
hosts: [api.stripe.com]
upstream: https://api.stripe.com
tls: {ca_file: /etc/sidecar/secrets/roots/ca.crt}
"""
"""The fake provider has a root of its own, and a private address that only a policy may name."""

NAMED = (
    STRIPE
    + """\
routes:
  - name: customer
    match: {method: GET, path: "/v1/customers/{id}"}
"""
)
BROKEN = STRIPE + "retry: {attempts: many}\n"

ASKED = {"sidecar/inject": "true", "sidecar/policies": "providers", "sidecar/secrets": "roots"}
BASE = {"mode": "base-url", "base_urls": "STRIPE_API_BASE=stripe"}
"""What `till` is told for that mode."""
LOCKED = {
    "runAsUser": 10001,
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def till(*command: str, **annotations: str) -> dict[str, Any]:
    """A Pod that runs one of `programs/`; `sidecar/base-urls` is written `base_urls` here."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "till",
            "annotations": ASKED | {f"sidecar/{key.replace('_', '-')}": value for key, value in annotations.items()},
        },
        "spec": {
            "containers": [
                {
                    "name": "app",
                    "image": APP_IMAGE,
                    "command": ["python", *command],
                    "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
                    "volumeMounts": [{"name": "programs", "mountPath": "/programs", "readOnly": True}],
                    "securityContext": dict(LOCKED),
                }
            ],
            "volumes": [{"name": "programs", "configMap": {"name": "programs"}}],
        },
    }


FOREVER = ("/programs/sdk.py", "forever")


def job(*command: str, **annotations: str) -> dict[str, Any]:
    """The same as a Job."""
    template = till(*command, **annotations)
    template["spec"]["restartPolicy"] = "Never"
    metadata = {"annotations": template["metadata"]["annotations"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "till"},
        "spec": {"template": {"metadata": metadata, "spec": template["spec"]}},
    }
