"""The bill of materials of the image that this runs in, on standard output: CycloneDX 1.6, as JSON.

Made from what is installed, and not from what should be: Python's distributions by their metadata, Debian's packages by
dpkg's own list, and the interpreter. The same image gives the same bytes.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

OWN = "resilience-sidecar"
DPKG = Path("/var/lib/dpkg/status")


def _paths() -> list[str]:
    """Where distributions are: in the virtual environment, and in the interpreter that it stands on."""
    base = os.path.realpath(sys.executable)
    others = subprocess.run(
        [base, "-I", "-c", "import json, sys; print(json.dumps(sys.path))"], check=True, capture_output=True, text=True
    )
    return [*sys.path[1:], *json.loads(others.stdout)]


def _distributions() -> Iterator[dict[str, Any]]:
    for path in dict.fromkeys(_paths()):
        for found in metadata.distributions(path=[path]):
            name, version = found.name, found.version
            yield {
                "type": "library",
                "name": name,
                "version": version,
                "purl": f"pkg:pypi/{name.lower().replace('_', '-').replace('.', '-')}@{quote(version)}",
                **_licence(found.metadata),
            }


def _licence(fields: metadata.PackageMetadata) -> dict[str, Any]:
    if expression := fields.get("License-Expression"):
        return {"licenses": [{"expression": expression}]}
    named = [row.rpartition(" :: ")[2] for row in fields.get_all("Classifier") or () if row.startswith("License")]
    short = fields.get("License", "").strip()
    if not named and short and len(short) < 80 and "\n" not in short:
        named = [short]
    return {"licenses": [{"license": {"name": name}} for name in named]} if named else {}


def _packages() -> Iterator[dict[str, Any]]:
    release = platform.freedesktop_os_release()
    system, distro = release["ID"], f"{release['ID']}-{release.get('VERSION_ID', '')}"
    for paragraph in DPKG.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status") != "install ok installed":
            continue
        name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
        yield {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:deb/{system}/{quote(name)}@{quote(version)}?arch={architecture}&distro={distro}",
        }


def _interpreter() -> dict[str, Any]:
    version = platform.python_version()
    return {"type": "application", "name": "python", "version": version, "purl": f"pkg:generic/python@{version}"}


def main() -> None:
    found = (_interpreter(), *_distributions(), *_packages())
    parts = {part["purl"]: {"bom-ref": part["purl"], **part} for part in found}
    components = sorted(parts.values(), key=lambda part: str(part["purl"]))
    own = {"type": "container", "name": "sidecar", "version": metadata.version(OWN), "bom-ref": "sidecar"}
    made = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(components))}",
        "version": 1,
        "metadata": {"timestamp": f"{made:%Y-%m-%dT%H:%M:%SZ}", "component": own},
        "components": components,
    }
    json.dump(document, sys.stdout, indent=1)


main()
