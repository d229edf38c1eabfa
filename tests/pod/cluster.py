"""What Pods of a test run on: a network without a way out, and a payment provider at its end."""

from __future__ import annotations

import copy
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tests.authority import Authority
from tests.pod.containers import pid_of
from tests.pod.dial import request
from tests.pod.image import IMAGE, ROOT
from tests.pod.kubelet import Pod
from tests.pod.podman import mark, network, podman, unique
from tests.pod.state import Node
from tests.pod.volumes import Document, Objects, mount_tmpfs
from tests.pod.waiting import until
from tests.real import need

PROGRAMS: Final = Path(__file__).parent / "programs"
APP_IMAGE: Final = "localhost/sidecar-test-app"
PROVIDER_HOST: Final = "api.stripe.com"


def inject(manifest: Document, *flags: str) -> dict[str, Any]:
    """What `sidecar inject` makes of it."""
    done = injecting(manifest, *flags)
    assert done.returncode == 0, done.stderr
    return dict(yaml.safe_load(done.stdout))


def injecting(manifest: Document, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidecar", "inject", "--image", IMAGE, *flags]
    text = yaml.safe_dump(dict(manifest), sort_keys=False)
    return subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


class Provider:
    """The payment provider: a container of its own, whose name only a Pod's hostAliases know."""

    def __init__(self, network: str, address: str, directory: Path) -> None:
        self.address = address
        authority = Authority(directory, "Provider Root")
        self.root = authority.ca_file.read_text()
        leaf = authority.issue(PROVIDER_HOST)
        tls = directory / "tls"
        tls.mkdir()
        (tls / "tls.crt").write_bytes(leaf.cert_file.read_bytes())
        (tls / "tls.key").write_bytes(leaf.key_file.read_bytes())
        self._name = unique("provider")
        words = ["--volume", f"{PROGRAMS}:/programs:ro", "--volume", f"{tls}:/tls:ro"]
        where = ["--network", network, "--ip", address]
        command = [APP_IMAGE, "python", "/programs/provider.py"]
        podman("run", "--detach", *mark(), "--name", self._name, "--user", "0", *where, *words, *command)
        self.pid = pid_of(self._name)
        until(self.seen, what="the provider to listen")

    def seen(self) -> dict[str, Any]:
        """calls, via (those that came through a proxy), connections, and the last request's line."""
        return dict(json.loads(self._ask("GET")))

    def answers(self, **manner: Any) -> None:
        """From now on: status, age_s, delay_s; what is not named is as usual."""
        self._ask("PUT", json.dumps(manner).encode())

    def _ask(self, method: str, body: bytes | None = None) -> bytes:
        return request(self.pid, ("127.0.0.1", 8000), method, "/", body)[1]

    def close(self) -> None:
        podman("rm", "--force", "--time", "0", self._name, check=False)


class Cluster:
    """Makes Pods of manifests."""

    def __init__(self, network: str, subnet: str, directory: Path) -> None:
        self.objects = Objects()
        self.provider = Provider(network, f"{subnet}.2", directory)
        self._network, self._subnet, self._directory = network, subnet, directory
        self._numbers = itertools.count(10)
        self._pods: list[Pod] = []
        self._claims: list[Path] = []
        programs = {path.name: path.read_text() for path in PROGRAMS.glob("*.py")}
        self.apply({"kind": "ConfigMap", "metadata": {"name": "programs"}, "data": programs})
        self.apply({"kind": "Secret", "metadata": {"name": "roots"}, "stringData": {"ca.crt": self.provider.root}})

    def apply(self, document: Document) -> None:
        """A ConfigMap or Secret, new or changed; Pods see it at their next sync."""
        self.objects.apply(document)

    def policies(self, name: str, **files: str) -> None:
        """A ConfigMap of policy files; a `_yaml` at the end of a name is `.yaml`."""
        data = {f"{file.removesuffix('_yaml')}.yaml": text for file, text in files.items()}
        self.apply({"kind": "ConfigMap", "metadata": {"name": name}, "data": data})

    def pod(self, manifest: Document) -> Pod:
        """The Pod of a Pod's manifest or a workload's template, with a sidecar, and started."""
        return self.bare_pod(inject(manifest))

    def bare_pod(self, manifest: Document) -> Pod:
        """The same as it is written. `manifest` is left as it is."""
        template = pod_of(manifest)
        template["spec"].setdefault("hostAliases", []).append(
            {"ip": self.provider.address, "hostnames": [PROVIDER_HOST]}
        )
        made = Pod(template, self.objects, Node(self._network, self.provider.pid), self.address(), self._directory)
        self._pods.append(made)
        return made.start()

    def claim(self, name: str, *, size: str, read_only: bool = False) -> Path:
        """A PersistentVolumeClaim with a disk of its own, there until the Pods are closed: where it is mounted here."""
        path = self._directory / "claims" / name
        path.mkdir(parents=True)
        mount_tmpfs(path, size)
        if read_only:
            subprocess.run([need("mount"), "-o", "remount,ro", str(path)], check=True)
        self._claims.append(path)
        return path

    def address(self) -> str:
        """One that nobody has."""
        return f"{self._subnet}.{next(self._numbers)}"

    @property
    def network(self) -> str:
        return self._network

    def close_pods(self) -> None:
        while self._pods:
            self._pods.pop().close()
        while self._claims:
            subprocess.run([need("umount"), "--lazy", str(self._claims.pop())], check=False)

    def close(self) -> None:
        self.close_pods()
        self.provider.close()


def pod_of(manifest: Document) -> dict[str, Any]:
    """A copy of the Pod in it."""
    document: Any = copy.deepcopy(dict(manifest))
    if document["kind"] == "CronJob":
        document = document["spec"]["jobTemplate"]
    if document.get("kind") != "Pod":
        name = document.get("metadata", manifest["metadata"])["name"]
        document = document["spec"]["template"]
        document.setdefault("metadata", {}).setdefault("name", name)
    return dict(document)


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    with network() as (name, subnet):
        made = Cluster(name, subnet, directory)
        try:
            yield made
        finally:
            made.close()
