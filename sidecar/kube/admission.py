"""The words of the admission API (admission.k8s.io/v1): what a review asks, and what may be answered. Pure.

Messages are made of our own words and of names; values that stand in a pod never get into one here.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import orjson

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
WARNING_MAX_CHARS: Final = 256
"""The API server cuts what is longer."""
WARNINGS_MAX: Final = 5
"""It takes 4 KiB of them in all; a person reads fewer."""
MESSAGE_MAX_CHARS: Final = 8192
UID_MAX_CHARS: Final = 256


class NotAReview(Exception):  # noqa: N818 - named for what came
    """What came is no review that can be answered. The text says what was expected, for whoever set the caller up."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the API server asks."""

    uid: str
    group: str
    kind: str
    operation: str
    namespace: str
    subresource: str
    object: dict[str, Any] | None = field(repr=False)

    @property
    def name(self) -> str:
        """A pod of a controller has none yet, only what it will begin with."""
        metadata = self.metadata
        name, prefix = metadata.get("name"), metadata.get("generateName")
        return name if isinstance(name, str) and name else f"{prefix}*" if isinstance(prefix, str) else ""

    @property
    def metadata(self) -> Mapping[str, Any]:
        return _mapping((self.object or {}).get("metadata"))


def read_review(body: bytes) -> Request:
    """Raises `NotAReview`."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise NotAReview(f"the body is not JSON: expected an {KIND} of {API_VERSION}") from None
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise NotAReview(f"expected a JSON object of the kind {KIND}")
    if document.get("apiVersion") != API_VERSION:
        raise NotAReview(f"expected apiVersion {API_VERSION}: set admissionReviewVersions of the webhook to [v1]")
    asked = document.get("request")
    if not isinstance(asked, dict):
        raise NotAReview("expected a member `request`, an object: this is a review without a question")
    return _request(asked)


def _request(asked: Mapping[str, Any]) -> Request:
    uid, kind, given = asked.get("uid"), _mapping(asked.get("kind")), asked.get("object")
    if not isinstance(uid, str) or not 0 < len(uid) <= UID_MAX_CHARS:
        raise NotAReview(f"expected `request.uid`, a text of at most {UID_MAX_CHARS} characters")
    if not _text(kind, "kind"):
        raise NotAReview("expected `request.kind`, an object with group, version and kind")
    if not _text(asked, "operation"):
        raise NotAReview("expected `request.operation`: CREATE, UPDATE, DELETE or CONNECT")
    if given is not None and not isinstance(given, dict):
        raise NotAReview("expected `request.object` to be an object, or null")
    return Request(
        uid=uid,
        group=_text(kind, "group"),
        kind=_text(kind, "kind"),
        operation=_text(asked, "operation"),
        namespace=_text(asked, "namespace"),
        subresource=_text(asked, "subResource"),
        object=given,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(asked: Mapping[str, Any], key: str) -> str:
    value = asked.get(key)
    return value if isinstance(value, str) else ""


# Answers.


def allow(uid: str, patch: Sequence[Mapping[str, Any]] = (), warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Let it in, changed as `patch` says."""
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(orjson.dumps(patch)).decode()
    if warnings:
        response["warnings"] = _few([_warning(warning) for warning in warnings])
    return _review(response)


def refuse(uid: str, problems: Sequence[str], status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY) -> dict[str, Any]:
    """Keep it out. Whoever wanted it is told everything at once, since each attempt costs a rollout."""
    reason = "Invalid" if status is HTTPStatus.UNPROCESSABLE_ENTITY else "InternalError"
    problems = [_line(problem) for problem in problems]
    message = _cut("the sidecar cannot be injected: " + "; ".join(problems), MESSAGE_MAX_CHARS)
    causes = [{"reason": "FieldValueInvalid", "message": problem} for problem in problems]
    answer = {"status": "Failure", "code": status.value, "reason": reason, "message": message}
    return _review({"uid": uid, "allowed": False, "status": {**answer, "details": {"causes": causes}}})


def _review(response: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def _few(warnings: list[str]) -> list[str]:
    if len(warnings) <= WARNINGS_MAX:
        return warnings
    shown = warnings[: WARNINGS_MAX - 1]
    return [*shown, f"sidecar: and {len(warnings) - len(shown)} more: see the injector's log"]


def _warning(text: str) -> str:
    return _cut(f"sidecar: {_line(text)}", WARNING_MAX_CHARS)


def _line(text: str) -> str:
    """One line that can be printed: the API server refuses headers with control characters."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
