"""The files that policies take bodies and credentials from: where they are, what is in them, and how to tell that they
changed.

What may live here: finding and reading them while policies load. Calls only ever see the bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sidecar.policy.files import LARGEST_FILE_BYTES, read_file
from sidecar.policy.problem import PolicyProblem, short
from sidecar.policy.tree import Node
from sidecar.policy.units import NotUnderstood
from sidecar.policy.volume import beside


def read_attached(path: str) -> bytes:
    """The bytes of a file that a policy names; says why not, if it cannot be read."""
    file = Path(path)
    data = read_file(file)
    if isinstance(data, PolicyProblem):
        expected = f"a readable file of at most {LARGEST_FILE_BYTES // 1024**2}MiB"
        raise NotUnderstood(expected, f"{short(file.name)}: {data.got}")
    return data


def resolve_attached(tree: Node) -> Node:
    """The tree with each `file` of fallbacks and credentials made absolute, from the directory of the file in which it
    was written."""
    if not isinstance(tree.value, dict):
        return tree
    resolved = dict(tree.value)
    fallback, routes = resolved.get("fallback"), resolved.get("routes")
    proxy = resolved.get("upstream_proxy")
    if proxy is not None and isinstance(proxy.value, dict) and (credentials := proxy.get("credentials")) is not None:
        resolved["upstream_proxy"] = replace(proxy, value={**proxy.value, "credentials": _resolved(credentials)})
    if fallback is not None and isinstance(fallback.value, list):
        resolved["fallback"] = replace(fallback, value=[_resolved(rung) for rung in fallback.value])
    if routes is not None and isinstance(routes.value, list):
        resolved["routes"] = replace(routes, value=[resolve_attached(route) for route in routes.value])
    return replace(tree, value=resolved)


def attached_state(tree: Node) -> Iterator[str]:
    """What tells one state of the attached files from another: path, inode, time and size of each."""
    for owner in (tree, *(tree.get("routes") or tree).items()):
        for rung in (owner.get("fallback") or owner).items():
            yield from _file_state(rung)
    if (credentials := tree.at("upstream_proxy", "credentials")) is not None:
        yield from _file_state(credentials)


def _resolved(owner: Node) -> Node:
    file = owner.get("file")
    if not isinstance(owner.value, dict) or file is None or not isinstance(file.value, str):
        return owner
    return replace(owner, value={**owner.value, "file": replace(file, value=_absolute(file.value, file))})


def _file_state(owner: Node) -> Iterator[str]:
    file = owner.get("file")
    if file is not None and isinstance(file.value, str):
        yield _state(_absolute(file.value, file))


def _absolute(path: str, node: Node) -> str:
    return beside(Path(node.place.file), path)


def _state(path: str) -> str:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return path
    return f"{path}:{status.st_ino}:{status.st_mtime_ns}:{status.st_size}"
