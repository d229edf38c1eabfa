"""What holds for one call, and where each part of it was written: the data behind `sidecar explain`.

What may live here: finding provider and route for a call described in words, and listing settings with their origins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel

from sidecar.policy.check import SETTINGS, route_tree
from sidecar.policy.match import HostIndex, RouteIndex
from sidecar.policy.model import ProviderPolicy, Route, Settings
from sidecar.policy.schema import defaults_as_written
from sidecar.policy.sources import LoadedPolicies
from sidecar.policy.tree import Node, Place, Plain, plain, show_path
from sidecar.policy.wording import field_models

PROVIDER_KEYS = ("hosts", "upstream", "upstream_proxy", "tls")
"""Shown beside the settings of the route."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value in force."""

    key: str
    value: Plain
    place: Place | None
    """Where it was written; None when it is the default."""


@dataclass(frozen=True, slots=True)
class Found:
    """Which policy a call meets."""

    policy: ProviderPolicy
    route: Route | None
    target: str
    """Path and query as they go to the provider."""

    @property
    def settings(self) -> Settings:
        return self.policy if self.route is None else self.route


def find_call(loaded: LoadedPolicies, method: str, url: str) -> Found | None:
    """The policy for a call by URL: the provider's own, one of the listener's, or only `/provider/path`."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    policy = HostIndex((host, one) for one in loaded.providers for host in one.hosts).find(parts.netloc.encode())
    if policy is None:
        name, _, rest = target.removeprefix("/").partition("/")
        named, question, query = name.partition("?")
        policy = next((one for one in loaded.providers if one.provider == named), None)
        target = f"/{rest}{question}{query}"
    if policy is None:
        return None
    index: RouteIndex[Route | None] = RouteIndex(
        ((route.match.method, route.match.path, route) for route in policy.routes), None
    )
    return Found(policy, index.find(method, target.encode()), target)


def effective_settings(loaded: LoadedPolicies, found: Found) -> list[Setting]:
    """Every value in force for a call, each with the place where it was written."""
    tree = loaded.tree(found.policy.provider)
    shown = [setting for key in PROVIDER_KEYS for setting in _key(tree, ProviderPolicy, (key,))]
    if found.route is not None:
        index = next(index for index, route in enumerate(found.policy.routes) if route.name == found.route.name)
        tree = _over(tree, route_tree(tree, tree.find(("routes", index))[0]))
    return [*shown, *(setting for key in Settings.model_fields for setting in _key(tree, Settings, (key,)))]


def _over(provider: Node, route: Node) -> Node:
    """The provider's tree with the settings of a route, which are merged already."""
    below = provider.value if isinstance(provider.value, dict) else {}
    above = route.value if isinstance(route.value, dict) else {}
    return Node(
        {**below, **{key: node for key, node in above.items() if key in SETTINGS}}, route.place, route.key_place
    )


def _key(tree: Node, model: type[BaseModel], path: Sequence[str]) -> Iterator[Setting]:
    """The values under one key: one for each leaf of its model, written or not."""
    key, node = path[-1], tree.at(*path)
    below = [] if _is_list(model.model_fields[key].annotation) else field_models(model).get(key, [])
    written_off = node is not None and not isinstance(node.value, dict)
    default = defaults_as_written(model).get(key, "")
    if below and not written_off and (node is not None or isinstance(default, dict)):
        for name, nested in below[0].model_fields.items():
            yield from _key(tree, below[0], (*path, nested.alias or name))
    elif node is not None and node.items() and all(isinstance(one.value, dict) for one in node.items()):
        for index, one in enumerate(node.items()):
            yield Setting(show_path((*path, index)), plain(one), one.place)
    elif node is not None:
        yield Setting(show_path(path), "off" if node.value is False else _shown(plain(node)), node.place)
    elif default not in ("", [], None):
        yield Setting(show_path(path), default, None)


def _is_list(annotation: object) -> bool:
    return get_origin(annotation) is tuple or any(_is_list(part) for part in get_args(annotation))


def _shown(value: Plain) -> Plain:
    return value.isoformat() if isinstance(value, date) else value
