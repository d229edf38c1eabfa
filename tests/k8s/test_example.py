"""The example: an application that has no word of a sidecar in it, and its provider's stand-in."""

from __future__ import annotations

import re

from tests.k8s.build import K8S, build, containers, pod_templates

EXAMPLE = K8S / "example"


def test_the_application_is_protected_by_one_line() -> None:
    kustomization = (EXAMPLE / "stripe/kustomization.yaml").read_text()
    assert [line for line in kustomization.splitlines() if line.startswith("components")] == [
        "components: [../../components/protect]"
    ]
    assert "sidecar" not in (EXAMPLE / "stripe/deployment.yaml").read_text().partition("\n")[2]


def test_where_the_provider_is_the_policy_alone_says() -> None:
    """So that tests and a start without an account can put another in its place."""
    real, offline = (
        {one["metadata"]["name"]: one for one in build(f"example/{name}")} for name in ("stripe", "offline")
    )
    assert offline["till"] == real["till"]
    changed = {name for name, text in offline["providers"]["data"].items() if text != real["providers"]["data"][name]}
    assert changed == {"stripe.yaml"}


def test_the_stand_in_is_reached_without_a_sidecar_of_its_own() -> None:
    templates = pod_templates(build("example/offline"))
    pods = {document["metadata"]["name"]: containers(template) for document, template in templates}
    assert [one["name"] for one in pods["stripe-stand-in"]] == ["stripe"]
    assert [one["name"] for one in pods["till"]] == ["sidecar", "till"]


def test_everything_that_is_installed_has_its_hashes() -> None:
    lock = (EXAMPLE / "app/requirements.lock").read_text()
    locked = re.findall(r"^([a-z][a-z0-9-]*)==\S+ \\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(locked) == lock.count("==")
    assert set((EXAMPLE / "app/requirements.in").read_text().split()) <= set(locked)
    assert "--require-hashes -r requirements.lock" in (EXAMPLE / "app/Dockerfile").read_text()
