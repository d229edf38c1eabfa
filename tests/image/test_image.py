"""What is in the image: no more than is needed, all of it listed, and nothing that runs as root."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sidecar import __version__
from tests.image.container import CONFINED, python, run
from tests.pod.image import ROOT
from tests.pod.podman import BASE_IMAGE, podman

pytestmark = pytest.mark.timeout(900)  # the first test builds the image

LARGEST_BYTES = 130e6
"""Beyond the base."""


def about(image: str) -> dict[str, Any]:
    (document,) = json.loads(podman("image", "inspect", image))
    return dict(document)


def pins(lock: str) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9._-]+)==([^ ]+)", (ROOT / lock).read_text(), re.MULTILINE)
    return {name.replace(".", "-"): version for name, version in found}


def test_it_says_what_it_is_and_how_it_is_run(image: str) -> None:
    config = about(image)["Config"]

    assert (config["User"], config["StopSignal"]) == ("65532:65532", "SIGTERM")
    assert (config["Entrypoint"], config["Cmd"]) == (["sidecar"], ["run"])
    assert "Healthcheck" not in config
    assert set(config["Volumes"]) == {"/var/lib/sidecar", "/run/sidecar/ca"}
    environ = dict(variable.split("=", 1) for variable in config["Env"])
    assert environ["SIDECAR_STATE"] == "/var/lib/sidecar"
    assert environ["SIDECAR_CA_DIR"] == "/run/sidecar/ca"
    assert environ["SIDECAR_UNFIT_POLICIES"] == "wait"
    assert "SIDECAR_POLICIES" not in environ
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["title"] == "sidecar"
    assert labels["version"] == __version__
    assert labels["licenses"] == "Apache-2.0"
    assert labels["description"]


def test_it_is_small(image: str, record_property: pytest.RecordProperty) -> None:
    size_bytes = about(image)["Size"] - about(BASE_IMAGE)["Size"]
    record_property("image_size_bytes", size_bytes)

    assert 0 < size_bytes <= LARGEST_BYTES


def test_the_calls_path_is_compiled_and_so_is_every_other_module(image: str) -> None:
    found = python(
        image,
        """
import importlib.util, json, os, sys, sidecar.daemon, sidecar.admin.app, sidecar.rules.backoff
late = [name for name, module in sorted(sys.modules.items())
        if (getattr(module, "__file__", None) or "").endswith(".py")
        and not os.path.exists(importlib.util.cache_from_source(module.__file__))]
print(json.dumps({"backoff": sidecar.rules.backoff.__file__, "late": late}))
""",
    )

    assert found["backoff"].endswith(".so")
    assert found["late"] == []


def test_its_bill_of_materials_lists_all_that_is_installed(image: str) -> None:
    found = python(
        image,
        """
import json
from importlib import metadata
names = {one.name.lower().replace("_", "-").replace(".", "-"): one.version for one in metadata.distributions()}
print(json.dumps({"installed": names, "bill": json.load(open("/opt/sidecar/sbom.cdx.json"))}))
""",
    )
    bill, installed = found["bill"], found["installed"]
    components = {component["purl"].partition("?")[0]: component for component in bill["components"]}

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["version"] == __version__
    assert {f"pkg:pypi/{name}@{version}" for name, version in installed.items()} <= components.keys()
    assert {"resilience-sidecar", "redis", "jsonpatch", "uvloop"} <= installed.keys()
    assert any(purl.startswith("pkg:deb/debian/nftables@") for purl in components)
    assert any(component["name"].startswith("python") for component in components.values())
    assert components[f"pkg:pypi/uvloop@{installed['uvloop']}"]["licenses"]
    assert len({component["bom-ref"] for component in bill["components"]}) == len(bill["components"])


def test_only_what_is_locked_is_installed(image: str) -> None:
    installed = python(
        image,
        """
import json, sysconfig
from importlib import metadata
found = metadata.distributions(path=[sysconfig.get_path("purelib")])
print(json.dumps({one.name.lower().replace("_", "-").replace(".", "-"): one.version for one in found}))
""",
    )

    assert installed.pop("resilience-sidecar") == __version__
    assert installed.items() <= pins("requirements.lock").items()


def test_policies_are_checked_in_it(image: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("provider: stripe\nretry: {attempt: 3}\n")
    tmp_path.chmod(0o755)

    good = run(image, "check", "/policies", options=(*CONFINED, f"--volume={ROOT}/policies:/policies:ro"))
    bad = run(image, "check", "/policies", options=(*CONFINED, f"--volume={tmp_path}:/policies:ro"))

    assert good.returncode == 0, good.stderr
    assert bad.returncode == 1
    assert "/policies/bad.yaml:2:9" in bad.stdout + bad.stderr
    assert "Traceback" not in bad.stdout + bad.stderr


def test_the_firewall_is_put_up_with_one_capability(image: str) -> None:
    allowed = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--network=none", "--user=0:0")

    without = run(image, "firewall", "up", options=allowed)
    done = run(image, "firewall", "up", options=(*allowed, "--cap-add=NET_ADMIN"))

    assert done.returncode == 0, done.stderr
    assert without.returncode == 1
    assert "NET_ADMIN" in without.stderr
    assert "Traceback" not in without.stderr


def test_the_locks_of_the_build_and_of_development_agree() -> None:
    build, development = pins("requirements-build.lock"), pins("requirements-dev.lock")

    assert {"hatchling", "mypy", "setuptools"} <= build.keys()
    for name in build.keys() & development.keys():
        assert build[name] == development[name]
    assert pins("requirements.lock").items() <= development.items()
