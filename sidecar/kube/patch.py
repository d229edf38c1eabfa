"""From one document to another as a JSON patch (RFC 6902): what an admission webhook may answer. Pure.

A patch should say what was added and nothing else: whoever reads an audit log sees it, and what it repeats of
a container it takes from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import jsonpatch

Document: TypeAlias = Mapping[str, Any]
Operation: TypeAlias = dict[str, Any]


def make_patch(before: Document, after: Document) -> list[Operation]:
    """The operations that make `after` of `before`; none when they are equal. Both are JSON, and objects at the top."""
    # The library tells items of a list apart by all that they hold, and would make a container of the one before it,
    # member by member. So items are put in their places first, outer lists before inner ones, and then changed there.
    operations: list[Operation] = []
    reached = before
    while (placed := place(reached, after)) != reached:
        operations += _difference(reached, placed)
        reached = placed
    operations += _difference(reached, after)
    # Older releases of the library got some moves within lists wrong. An object that is admitted must be right.
    return operations if leads(before, operations, after) else replace_members(before, after)


def place(before: Any, after: Any) -> Any:
    """`before` with the outermost lists of named items, where their names differ, as in `after`: what is new is there,
    what is gone is not, and what stays is as it was."""
    if isinstance(before, dict) and isinstance(after, dict):
        return {key: place(value, after[key]) if key in after else value for key, value in before.items()}
    if not isinstance(before, list) or not isinstance(after, list):
        return before
    was, now = _by_name(before), _by_name(after)
    if was is None or now is None:
        return before
    if list(was) != list(now):
        return [was.get(name, item) for name, item in now.items()]
    return [place(was[name], item) for name, item in now.items()]


def leads(before: Document, operations: list[Operation], after: Document) -> bool:
    """The operations, done to `before`, make `after` of it."""
    try:
        return bool(jsonpatch.apply_patch(before, operations) == after)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
        return False


def replace_members(before: Document, after: Document) -> list[Operation]:
    """The same without looking into the members: larger, and plain."""
    gone = [{"op": "remove", "path": _pointer(key)} for key in before if key not in after]
    changed = [
        {"op": "replace" if key in before else "add", "path": _pointer(key), "value": value}
        for key, value in after.items()
        if key not in before or before[key] != value
    ]
    return gone + changed


def _difference(before: Document, after: Document) -> list[Operation]:
    operations: list[Operation] = jsonpatch.make_patch(before, after).patch
    return operations


def _by_name(items: list[Any]) -> dict[str, Any] | None:
    """None unless every item is an object with a name of its own."""
    named = {item["name"]: item for item in items if isinstance(item, dict) and isinstance(item.get("name"), str)}
    return named if len(named) == len(items) else None


def _pointer(key: str) -> str:
    """RFC 6901 section 3."""
    return "/" + key.replace("~", "~0").replace("/", "~1")
