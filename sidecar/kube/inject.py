"""The sidecar put into the pods of a document, or taken out of them: what the command and the webhook share. Pure."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from sidecar.kube.annotations import STATUS, Defaults, PodSettings, asks, read_annotations, read_plain
from sidecar.kube.pod import put_in, take_out
from sidecar.kube.refusals import refusals
from sidecar.kube.status import Unreadable, read_status
from sidecar.kube.warnings import warnings
from sidecar.kube.workloads import Workload, find_workloads, mapping

__all__ = ["Defaults", "NotInjectable", "inject"]


class NotInjectable(Exception):  # noqa: N818 - named for what happened
    """Something forbids it. `problems` are sentences for the user, one a problem, all that were found."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class _Plan:
    """What is to become of one workload; no settings: it is to have no sidecar."""

    workload: Workload
    settings: PodSettings | None
    warnings: tuple[str, ...] = ()


def inject(document: MutableMapping[str, Any], defaults: Defaults, *, asked: bool) -> tuple[str, ...]:
    """Put the sidecar into every pod template of a document, in place; what was put in earlier is replaced.

    With `asked`, into all that are not annotated `sidecar/inject: "false"`; otherwise into those with `"true"`. From
    one with `"false"` it is taken out. The rest is left alone. Returns warnings; raises `NotInjectable`, and then
    nothing has changed.
    """
    problems: list[str] = []
    plans = [
        plan
        for workload in find_workloads(document)
        if (plan := _plan(workload, defaults, asked, problems)) is not None
    ]
    if problems:
        raise NotInjectable(tuple(problems))
    for plan in plans:
        take_out(plan.workload.template)
        if plan.settings is not None:
            put_in(plan.workload.template, plan.settings, service_name(plan.workload), plan.workload.claim_templates)
    return tuple(warning for plan in plans for warning in plan.warnings)


def service_name(workload: Workload) -> str:
    """What telemetry calls the sidecar: after the application, as far as that has a name."""
    labels = mapping(mapping(workload.template.get("metadata")).get("labels"))
    own = mapping(workload.document.get("metadata")).get("name")
    name = labels.get("app.kubernetes.io/name") or labels.get("app") or own
    return f"{name}-sidecar" if name else "sidecar"


def _plan(workload: Workload, defaults: Defaults, asked: bool, problems: list[str]) -> _Plan | None:
    annotations = workload.annotations
    if not _concerned(annotations, asked):
        return None
    found: list[str] = []
    answer = asks(annotations)
    wants = asked if answer is None else answer
    settings = read_annotations(annotations, defaults, found)
    stripped = _without_ours(workload.template, found)
    if wants and stripped is not None:
        # What is in the way of any sidecar is said beside what is wrong with the annotations.
        found += refusals(workload, stripped, settings or read_plain())
    if found or settings is None:
        problems += [f"{workload.title}: {problem}" for problem in found]
        return None
    if wants:
        said = warnings(workload, stripped, settings)
        return _Plan(workload, settings, tuple(f"{workload.title}: {text}" for text in said))
    return _Plan(workload, None) if answer is False and STATUS in annotations else None


def _concerned(annotations: Mapping[str, object], asked: bool) -> bool:
    """A pod that says anything about the sidecar is read whole, so that a typo in `sidecar/inject` is found."""
    return asked or any(name.startswith("sidecar/") and name != STATUS for name in map(str, annotations))


def _without_ours(template: MutableMapping[str, Any], problems: list[str]) -> Any:
    """A copy to look at, with nothing of ours in it; None if that cannot be told."""
    stripped = deepcopy(template)
    try:
        if read_status(template) is not None:
            take_out(stripped)
    except (Unreadable, KeyError, AttributeError, TypeError):
        problems.append(
            f"{STATUS} is not as it was written, so what is ours cannot be told;"
            " start from the manifest without the sidecar"
        )
        return None
    return stripped
