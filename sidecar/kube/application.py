"""What the application's containers get: variables, never in place of their own, and the certificates. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.address import Address
from sidecar.exports import CLUSTER, exports
from sidecar.kube import names
from sidecar.kube.annotations import BASE_URL, PROXY, PodSettings
from sidecar.kube.workloads import items

CALLS: Final = Address("127.0.0.1", names.CALLS_PORT)
URL: Final = f"http://{CALLS}"


def application_env(wanted: PodSettings) -> dict[str, str]:
    """Variables by the mode, and those of base URLs."""
    variables: dict[str, str] = {}
    if wanted.mode == BASE_URL:
        variables["SIDECAR_URL"] = URL
    else:
        proxies = CALLS if wanted.mode == PROXY else None
        variables |= exports(proxies, Path(names.CA_DIR), no_proxy=CLUSTER)
    return variables | {name: f"{URL}/{path}" for name, path in wanted.base_urls}


def own_names(container: Mapping[str, Any]) -> set[str]:
    """Variables that a container sets itself. Programs read some in either case, so they count in both."""
    return {str(one.get("name")).upper() for one in items(container.get("env"))}


def kept(container: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
    """Those of our variables that a container has values of its own for."""
    own = own_names(container)
    return [name for name in variables if name.upper() in own]


def advice(container: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
    """Warnings about variables that stay as the container has them."""
    values = {str(one.get("name")).upper(): one.get("value") for one in items(container.get("env"))}
    differs = [name for name in kept(container, variables) if values[name.upper()] != variables[name]]
    title = f"container {container.get('name')}"
    found = []
    if stays := [name for name in differs if name.upper() != "NO_PROXY"]:
        found.append(
            f"{title} sets {', '.join(stays)} itself, which stays: what reads it goes around the sidecar or does not"
            " trust it; remove it there if that is not wanted"
        )
    if differs and (missing := _missing(values.get("NO_PROXY"), variables.get("NO_PROXY", ""))):
        found.append(
            f"{title} sets NO_PROXY itself, which stays: add {missing}, or what is meant for the"
            " cluster goes to the sidecar"
        )
    return found


def _missing(given: object, ours: str) -> str:
    """Entries of ours that another NO_PROXY lacks; none can be told where its value comes from elsewhere."""
    if not isinstance(given, str) or "*" in given.split(","):
        return ""
    there = {entry.strip() for entry in given.split(",")}
    return ",".join(entry for entry in ours.split(",") if entry and entry not in there)
