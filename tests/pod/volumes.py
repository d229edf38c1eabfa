"""A Pod's volumes as directories of this machine, laid out as the kubelet lays them out."""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tests.pod.podman import unique
from tests.real import need

Document: TypeAlias = Mapping[str, Any]

_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "": 1}


def size_bytes(quantity: str) -> int:
    """A Kubernetes quantity of memory."""
    digits = quantity.rstrip("KMGi")
    return int(digits) * _UNITS[quantity[len(digits) :]]


def mount_tmpfs(path: Path, size: str | None) -> None:
    """A disk in memory, which everybody may write to. Its name says whose it is, for `podman.sweep`."""
    options = "mode=0777" + (f",size={size_bytes(size)}" if size else "")
    subprocess.run([need("mount"), "-t", "tmpfs", "-o", options, unique("tmpfs"), str(path)], check=True)


class Objects:
    """The ConfigMaps and Secrets of a namespace, which may come, change and go while Pods run."""

    def __init__(self) -> None:
        self._data: dict[tuple[str, str], dict[str, bytes]] = {}

    def apply(self, document: Document) -> None:
        data = {name: text.encode() for name, text in document.get("data", {}).items()}
        if document["kind"] == "Secret":
            data = {name: base64.b64decode(text) for name, text in data.items()}
            data |= {name: text.encode() for name, text in document.get("stringData", {}).items()}
        data |= {name: base64.b64decode(text) for name, text in document.get("binaryData", {}).items()}
        self._data[document["kind"], document["metadata"]["name"]] = data

    def delete(self, kind: str, name: str) -> None:
        del self._data[kind, name]

    def of(self, kind: str, name: str) -> dict[str, bytes]:
        return self._data[kind, name]

    def find(self, kind: str, name: str, *, optional: bool) -> dict[str, bytes] | None:
        found = self._data.get((kind, name))
        if found is None and not optional:
            raise LookupError(f'{kind.lower()} "{name}" not found')
        return found


class AtomicDirectory:
    """A directory whose files change all at once: they are links into `..data`, itself a link that is renamed over."""

    def __init__(self, path: Path, mode: int) -> None:
        self.path = path
        self._mode = mode
        self._numbers = itertools.count(1)

    def write(self, files: Mapping[str, bytes]) -> None:
        stamped = self.path / f"..2026_11_22_00_00_00.{next(self._numbers):09}"
        stamped.mkdir(mode=0o755)
        for name, content in files.items():
            (stamped / name).parent.mkdir(parents=True, exist_ok=True)
            (stamped / name).write_bytes(content)
            (stamped / name).chmod(self._mode)
        link = self.path / "..data"
        before = link.readlink() if link.is_symlink() else None
        (self.path / "..data_tmp").symlink_to(stamped.name)
        os.rename(self.path / "..data_tmp", link)
        tops = {Path(name).parts[0] for name in files}
        for name in tops:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        for entry in self.path.iterdir():
            if not entry.name.startswith("..") and entry.name not in tops:
                entry.unlink()
        if before is not None:
            shutil.rmtree(self.path / before)


class Volumes:
    """All volumes of one Pod."""

    def __init__(self, spec: Document, objects: Objects, directory: Path) -> None:
        self._objects = objects
        self._directory = directory
        self._written: list[tuple[AtomicDirectory, Document]] = []
        self._tmpfs: list[Path] = []
        self._group = spec.get("securityContext", {}).get("fsGroup")
        self._paths = {volume["name"]: self._make(volume) for volume in spec.get("volumes", [])}

    def path(self, name: str) -> Path:
        return self._paths[name]

    def sync(self) -> None:
        """Write what ConfigMaps and Secrets say now, as the kubelet does about once a minute."""
        for directory, volume in self._written:
            directory.write(self._files(volume))

    def close(self) -> None:
        for path in self._tmpfs:
            subprocess.run([need("umount"), "--lazy", str(path)], check=False)

    def _make(self, volume: Document) -> Path:
        path: Path = self._directory / "volumes" / volume["name"]
        if (empty := volume.get("emptyDir")) is not None:
            path.mkdir(parents=True)
            if empty.get("medium") == "Memory":
                mount_tmpfs(path, empty.get("sizeLimit"))
                self._tmpfs.append(path)
            path.chmod(0o777)
        elif claim := volume.get("persistentVolumeClaim"):
            # A claim outlives its Pod: it lies beside, not in the Pod's own directory.
            path = self._directory.parent / "claims" / str(claim["claimName"])
            if not path.exists():
                path.mkdir(parents=True)
                path.chmod(0o777)
        elif host := volume.get("hostPath"):
            return Path(str(host["path"]))
        else:
            path.mkdir(parents=True)
            source = volume.get("secret") or volume.get("configMap") or volume.get("projected")
            if source is None:
                raise NotImplementedError(f"a volume of another sort: {volume}")
            directory = AtomicDirectory(path, source.get("defaultMode", 0o644))
            directory.write(self._files(volume))
            self._written.append((directory, volume))
        if self._group is not None and not {"hostPath", "persistentVolumeClaim"} & set(volume):
            os.chown(path, -1, self._group)
            path.chmod(path.stat().st_mode | 0o2770)
        return path

    def _files(self, volume: Document) -> dict[str, bytes]:
        if projected := volume.get("projected"):
            parts = [self._files(source) for source in projected["sources"]]
            return {name: content for part in parts for name, content in part.items()}
        kind, key = ("Secret", "secret") if "secret" in volume else ("ConfigMap", "configMap")
        source = volume[key]
        name = source.get("secretName") or source["name"]
        data = self._objects.find(kind, name, optional=source.get("optional", False)) or {}
        if items := source.get("items"):
            return {item["path"]: data[item["key"]] for item in items}
        return data
