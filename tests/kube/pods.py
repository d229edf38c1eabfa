"""Workloads to inject into, and what was made of them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from sidecar.kube.annotations import Defaults
from sidecar.kube.inject import inject

DEFAULTS = Defaults()
patiently = settings(deadline=None, max_examples=60)
"""A busy machine makes single examples slow."""


def container(name: str = "app", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": f"{name}:1", **more}


def pod(*containers: dict[str, Any], annotations: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "shop"}
    if annotations is not None:
        metadata["annotations"] = annotations
    spec = {"containers": list(containers) or [container()], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def workload(kind: str, of: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A workload whose template is the pod."""
    template = {
        "metadata": {name: value for name, value in of["metadata"].items() if name != "name"},
        "spec": of["spec"],
    }
    spec = {"template": template, **spec}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    return {"kind": kind, "metadata": {"name": "shop"}, "spec": spec}


def injected(document: dict[str, Any], defaults: Defaults = DEFAULTS, *, asked: bool = True) -> Any:
    """A copy with the sidecar in it."""
    found = deepcopy(document)
    inject(found, defaults, asked=asked)
    return found


def taken_out(document: dict[str, Any]) -> Any:
    """A copy without it, the annotation that asked for that left out again."""
    found = deepcopy(document)
    annotations = found["metadata"].setdefault("annotations", {})
    before = annotations.get("sidecar/inject")
    annotations["sidecar/inject"] = "false"
    inject(found, DEFAULTS, asked=True)
    annotations = found["metadata"].setdefault("annotations", {})
    annotations.pop("sidecar/inject", None)
    if before is not None:
        annotations["sidecar/inject"] = before
    return found


def named(members: Any, name: str) -> Any:
    """The one of a list that has that name."""
    found = [one for one in members if one["name"] == name]
    assert len(found) == 1, f"{len(found)} of {name}"
    return found[0]


def env_of(container: dict[str, Any]) -> dict[str, Any]:
    names = [one["name"] for one in container.get("env") or []]
    assert len(names) == len(set(names)), f"a variable twice in {names}"
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container.get("env") or []}


# What people write: any of the names that we set among their own, keys that are there, empty, null or missing.
_NAMES = st.sampled_from(
    ["A", "HTTP_PROXY", "https_proxy", "NO_PROXY", "SSL_CERT_FILE", "SIDECAR_URL", "JAVA_TOOL_OPTIONS"]
)
_ENV = st.lists(_NAMES, unique=True).map(lambda names: [{"name": name, "value": f"own {name}"} for name in names])
_MOUNTS = st.just([{"name": "data", "mountPath": "/data"}])


def _optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Each key missing, null, or with a value."""
    return st.fixed_dictionaries({}, optional={key: st.none() | value for key, value in keys.items()})


def _containers(*names: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.tuples(
        *(
            _optional(env=_ENV, volumeMounts=_MOUNTS | st.just([])).map(lambda more, n=name: container(n, **more))
            for name in names
        )
    ).map(list)


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    spec = draw(
        _optional(
            initContainers=_containers("migrate") | st.just([]),
            volumes=st.just([{"name": "data", "emptyDir": {}}]) | st.just([]),
            terminationGracePeriodSeconds=st.sampled_from([5, 30, 90]),
        )
    )
    found = pod(*draw(_containers("app") | _containers("app", "worker")), **spec)
    if draw(st.booleans()):
        found["metadata"]["annotations"] = draw(st.sampled_from([{}, {"a": "b"}]))
    return found


SETTINGS = st.builds(
    Defaults,
    policies=st.sampled_from(["", "one", "one,two"]),
    mode=st.sampled_from(["proxy", "transparent", "base-url"]),
    form=st.sampled_from(["native", "classic"]),
    containers=st.sampled_from(["", "app"]),
    base_urls=st.sampled_from(["", "STRIPE_API_BASE=stripe"]),
    secrets=st.sampled_from(["", "key"]),
    drain=st.sampled_from(["", "70s"]),
)
