"""Laying one policy over another: mappings merge by key, everything else is replaced, and places stay true.

What may live here: the merge. Which trees are laid over which is `sources.py`'s.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import reduce

from sidecar.policy.tree import Node

ONE_STATEMENT = (
    (frozenset({"store", "ttl"}), frozenset({"store", "ttl"})),
    (frozenset({"file", "env"}), frozenset({"file", "env"})),
    (frozenset({"url"}), frozenset({"credentials"})),
)
"""Keys that say one thing together: a layer that has any of the first forgets all of the second from below. Whoever
names another proxy must not give it the password of the first."""


def merge(base: Node, over: Node) -> Node:
    """`over` laid over `base`. A step that is off below comes back as a mapping above, and the other way round."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    unsaid = {key for said, forgotten in ONE_STATEMENT if not said.isdisjoint(over.value) for key in forgotten}
    merged = {key: node for key, node in base.value.items() if key not in unsaid}
    for key, node in over.value.items():
        below = merged.get(key)
        merged[key] = node if below is None else merge(below, node)
    return Node(merged, over.place, over.key_place)


def merge_all(layers: Collection[Node]) -> Node:
    """Every layer over the one before it, at least one."""
    return reduce(merge, layers)


def without(node: Node, keys: Collection[str]) -> Node:
    """A mapping without some of its keys; anything else as it is."""
    if not isinstance(node.value, dict) or node.value.keys().isdisjoint(keys):
        return node
    kept = {key: below for key, below in node.value.items() if key not in keys}
    return Node(kept, node.place, node.key_place)
