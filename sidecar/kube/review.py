"""A review in, an answer out: who gets a sidecar, who is left alone, what becomes of whoever cannot get one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from sidecar.kube.admission import Request, allow, refuse
from sidecar.kube.annotations import INJECT, PREFIX, STATUS, Defaults
from sidecar.kube.inject import NotInjectable, inject
from sidecar.kube.kept import keep_others
from sidecar.kube.patch import make_patch
from sidecar.kube.workloads import TEMPLATES, find_workloads, items, mapping

MIRROR: Final = "kubernetes.io/config.mirror"
"""On the API server's picture of a static pod, which only the kubelet's files can change."""
KINDS: Final = frozenset(
    {
        ("", "Pod"),
        ("", "ReplicationController"),
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps", "ReplicaSet"),
        ("batch", "Job"),
        ("batch", "CronJob"),
    }
)
FAULT: Final = "this is a fault of the injector's own: its log says where"
FIXED: Final = frozenset({("", "Pod"), ("batch", "Job")})
"""What the API server lets nobody change the containers of once it is made."""


class Fail(StrEnum):
    """What becomes of whoever asked for a sidecar and cannot get it."""

    OPEN = "open"
    """It is let in without, and warned."""
    CLOSED = "closed"
    """It is kept out."""


class Result(StrEnum):
    """How a review ended."""

    INJECTED = "injected"
    UNCHANGED = "unchanged"
    """Nobody asked, or all is there already."""
    CHECKED = "checked"
    """Only looked at: it could be injected, if it asked."""
    SKIPPED = "skipped"
    """Not ours to look at."""
    PASSED = "passed"
    """Let in without a sidecar, though it asked for one."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for every review."""

    defaults: Defaults
    fail: Fail = Fail.OPEN
    namespaces: frozenset[str] = frozenset()
    """These only; all when empty."""
    excluded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The answer, and what the log may say of it."""

    answer: Mapping[str, Any] = field(repr=False)
    result: Result
    problems: tuple[str, ...] = ()
    fault: Exception | None = None
    """A bug of ours."""


def review(request: Request, rules: Rules, *, every: bool) -> Reviewed:
    """Inject, where it is asked for: by annotation, or with `every` wherever it is not refused by one."""
    if request.object is None or _left_alone(request, rules):
        return Reviewed(allow(request.uid), Result.SKIPPED)
    before = request.object
    try:
        after = deepcopy(before)
        warnings = inject(after, rules.defaults, asked=every)
        _keep(request, before, after)
        patch = make_patch(before, after)
    except NotInjectable as error:
        return _unfit(request, rules, error.problems)
    except Exception as fault:
        return _unfit(request, rules, (FAULT,), fault)
    result = Result.INJECTED if patch else Result.UNCHANGED
    return Reviewed(allow(request.uid, patch, warnings), result, tuple(warnings))


def check(request: Request, rules: Rules) -> Reviewed:
    """Say what injection would say, and change nothing: for workloads, whose pods are injected later and by a
    controller, who shows its warnings to nobody."""
    if request.object is None or _left_alone(request, rules):
        return Reviewed(allow(request.uid), Result.SKIPPED)
    # Controllers update what has been there for long, too, and must not be stopped halfway through a rollout.
    lenient = rules if request.operation == "CREATE" else replace(rules, fail=Fail.OPEN)
    try:
        warnings = inject(deepcopy(request.object), rules.defaults, asked=False)
    except NotInjectable as error:
        return _unfit(request, lenient, error.problems)
    except Exception as fault:
        return _unfit(request, lenient, (FAULT,), fault)
    said = (*_misplaced(request), *warnings)
    return Reviewed(allow(request.uid, warnings=said), Result.CHECKED, said)


def _unfit(request: Request, rules: Rules, problems: Sequence[str], fault: Exception | None = None) -> Reviewed:
    if rules.fail is Fail.OPEN:
        warnings = [f"not injected: {problem}" for problem in problems]
        return Reviewed(allow(request.uid, warnings=warnings), Result.PASSED, tuple(problems), fault)
    status = HTTPStatus.INTERNAL_SERVER_ERROR if fault else HTTPStatus.UNPROCESSABLE_ENTITY
    return Reviewed(refuse(request.uid, problems, status), Result.REFUSED, tuple(problems), fault)


def _left_alone(request: Request, rules: Rules) -> bool:
    kind = (request.group, request.kind)
    if kind not in KINDS or request.operation not in ("CREATE", "UPDATE") or request.subresource:
        return True
    if request.operation == "UPDATE" and kind in FIXED:
        return True
    if request.namespace in rules.excluded or (rules.namespaces and request.namespace not in rules.namespaces):
        return True
    metadata = request.metadata
    # Whoever is being deleted is only let go of, and nothing may stand in the way of that.
    if metadata.get("deletionTimestamp") or MIRROR in _annotations(request.object):
        return True
    # A controller compares what it made with its own template, and would make another, and another.
    return kind != ("", "Pod") and any(
        owner.get("controller") is True for owner in items(metadata.get("ownerReferences"))
    )


def _keep(request: Request, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    was, now = (mapping(_template(document).get("spec")) for document in (before, after))
    keep_others(was, now, limits=request.kind == "Pod")


def _template(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pod, or the template of one."""
    workload = next(find_workloads(document), None)
    return workload.template if workload else {}


def _misplaced(request: Request) -> tuple[str, ...]:
    """A pod does not inherit its workload's own annotations."""
    if request.kind == "Pod" or request.object is None:
        return ()
    own, template = _annotations(request.object), _annotations(_template(request.object))
    if INJECT not in own or INJECT in template or STATUS in template:
        return ()
    lost = sorted(key for key in own if key.startswith(PREFIX) and key not in template)
    path = ".".join((*TEMPLATES[request.kind], "metadata", "annotations"))
    return (f"{', '.join(lost)}: the injector sees pods only, so write it under {path}",)


def _annotations(document: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return mapping(mapping(mapping(document).get("metadata")).get("annotations"))
