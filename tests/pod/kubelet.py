"""The life of one Pod, as a kubelet of Kubernetes 1.29 or newer leads it, on podman's containers.

podman 4 knows Pods, but neither native sidecars nor the gates of a start, nor a ConfigMap that changes. What it does
know is left to it: namespaces, mounts, identities, limits. Nothing is started or asked but what the manifest says.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.pod.containers import NotStarted, Place, create, execute, pid_of
from tests.pod.dial import request
from tests.pod.podman import mark, podman, unique
from tests.pod.state import Container, Event, Node
from tests.pod.volumes import Document, Objects, Volumes
from tests.pod.waiting import until

BACKOFF_S = (0.0, 10.0, 20.0, 40.0)
"""Before each restart of a container; a kubelet's first comes at once."""
START_S = 40.0


class Pod:
    """One Pod. `start` returns at once; `events` says what came of it."""

    def __init__(self, manifest: Document, objects: Objects, node: Node, address: str, directory: Path) -> None:
        self.manifest = manifest
        self.spec: Document = manifest["spec"]
        self.address = address
        self.name = unique(manifest["metadata"]["name"])
        self.events: list[Event] = []
        self.trouble: list[str] = []
        """Why a container waits, in the kubelet's words."""
        self._objects = objects
        self._node = node
        self._directory = directory / self.name
        self._directory.mkdir()
        self._containers = [
            *(Container(one, "sidecar" if one.get("restartPolicy") == "Always" else "init") for one in self._inits()),
            *(Container(one, "app") for one in self.spec["containers"]),
        ]
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._place: Place | None = None
        self.volumes: Volumes | None = None

    # What a test asks

    def __getitem__(self, name: str) -> Container:
        return next(one for one in self._containers if one.name == name)

    def logs(self, name: str) -> str:
        """All that the container has said, over its restarts."""
        return "\n".join(podman("logs", one, check=False, errors_too=True) for one in self[name].names)

    def execute(self, container: str, *command: str, user: int | None = None) -> str:
        """What a further process in the container prints; raises RuntimeError where it fails."""
        return execute(self[container].pid, *command, user=user)

    def exec_fails(self, container: str, *command: str, user: int | None = None) -> str:
        """Why it fails."""
        try:
            done = self.execute(container, *command, user=user)
        except RuntimeError as error:
            return str(error)
        raise AssertionError(f"{command} went well: {done}")

    def at_s(self, container: str, what: str) -> float:
        """When it first happened."""
        return next(event.at_s for event in self.events if (event.container, event.what) == (container, what))

    def happened(self, container: str, what: str) -> bool:
        return any((event.container, event.what) == (container, what) for event in self.events)

    def story(self) -> list[str]:
        return [f"{event.container} {event.what}" for event in self.events]

    def get(self, path: str, port: int = 7601) -> tuple[int, bytes]:
        """What the Pod's address answers to who is not in the Pod, such as a kubelet."""
        return request(self._node.pid, (self.address, port), "GET", path)

    def volume(self, name: str) -> Path:
        """Where it lies on this machine."""
        assert self.volumes is not None
        return self.volumes.path(name)

    def signal(self, container: str, name: str) -> None:
        podman("kill", "--signal", name, self[container].names[-1])

    # What a kubelet does

    def start(self) -> Pod:
        self._spawn(self._come_up)
        return self

    def running(self, within_s: float = START_S) -> Pod:
        """Wait until all containers are started and the readiness probes hold."""
        try:
            until(self._up, within_s, what=f"{self.name} to be up")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}") from error
        return self

    def report(self) -> str:
        """All that is known of it, for whoever asks why it is not what it should be."""
        logs = [f"{one.name}: {self.logs(one.name)[-3000:]}" for one in self._containers if one.names]
        return "\n".join([f"events: {self.story()}", f"trouble: {self.trouble}", *logs])

    def _up(self) -> bool:
        if self.happened("pod", "failed"):
            raise RuntimeError(f"the Pod failed\n{self.report()}")
        return self.happened("pod", "started") and all(
            self._probe(one, one.document["readinessProbe"])
            for one in self._containers
            if "readinessProbe" in one.document
        )

    def sync_volumes(self) -> None:
        assert self.volumes is not None
        self.volumes.sync()

    def delete(self) -> None:
        """End it: applications first and native sidecars after them, all within the grace period."""
        if self._ending.is_set():
            return
        self._ending.set()
        ends_s = time.monotonic() + self.spec.get("terminationGracePeriodSeconds", 30)
        with self._lock:
            live = [one for one in self._containers if one.names and not one.exited.is_set()]
        self._end_all([one for one in live if one.role != "sidecar"], ends_s)
        for one in reversed([one for one in live if one.role == "sidecar"]):
            self._end_all([one], max(ends_s, time.monotonic() + 2))

    def close(self) -> None:
        """Remove whatever there is, without grace."""
        self._ending.set()
        podman("pod", "rm", "--force", "--time", "0", self.name, check=False)
        for one in self._containers:
            if one.pid:
                one.exited.wait(5)
        for thread in self._threads:
            thread.join(timeout=10)
        podman("pod", "rm", "--force", "--time", "0", self.name, check=False)
        if self.volumes is not None:
            self.volumes.close()

    # How it does that

    def _inits(self) -> list[Document]:
        return list(self.spec.get("initContainers", []))

    def _say(self, container: str, what: str) -> None:
        self.events.append(Event(time.monotonic(), container, what))

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, name=self.name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _come_up(self) -> None:
        try:
            self._place = self._sandbox()
            for one in self._containers:
                if self._ending.is_set():
                    return
                self._launch(one)
                if one.role == "init":
                    self._finish(one)
                elif one.role == "sidecar":
                    self._pass_startup(one)
            self._say("pod", "started")
            if self.spec.get("restartPolicy", "Always") != "Always":
                self._spawn(self._complete)
        except (RuntimeError, NotStarted, LookupError, AssertionError, subprocess.SubprocessError) as error:
            if not self._ending.is_set():
                self.trouble.append(str(error))
                self._say("pod", "failed")

    def _sandbox(self) -> Place:
        self.volumes = self._mounted()
        words = ["--network", self._node.network, "--ip", self.address, "--hostname", self.manifest["metadata"]["name"]]
        for alias in self.spec.get("hostAliases", []):
            for name in alias["hostnames"]:
                words += ["--add-host", f"{name}:{alias['ip']}"]
        podman("pod", "create", *mark(), "--name", self.name, *words)
        podman("pod", "start", self.name)
        return Place(self.name, self.address, self.manifest["metadata"], self.spec, self._objects, self.volumes)

    def _mounted(self) -> Volumes:
        """Its volumes; a kubelet waits for a ConfigMap that is not there and not optional."""
        while True:
            try:
                return Volumes(self.spec, self._objects, self._directory)
            except LookupError as error:
                if (said := f"MountVolume.SetUp failed: {error}") not in self.trouble:
                    self.trouble.append(said)
                if self._ending.wait(0.2):
                    raise
                self._directory = self._directory.with_name(unique("again"))
                self._directory.mkdir()

    def _launch(self, one: Container) -> None:
        """A new container each time, as its writable layer must be new."""
        assert self._place is not None
        name = f"{self.name}-{one.name}-{len(one.names)}"
        create(one.document, self._place, name)
        with self._lock:
            if self._ending.is_set():
                return
            one.exited.clear()
            one.names.append(name)
            podman("start", name)
            one.pid = pid_of(name)
        self._say(one.name, "started")
        self._spawn(self._watch, one, name, one.pid)
        if (hook := one.document.get("lifecycle", {}).get("postStart")) is not None:
            # The kubelet starts no other container before the hook is done, and kills this one where it fails.
            try:
                execute(one.pid, *hook["exec"]["command"])
                self._say(one.name, "poststart passed")
            except RuntimeError as error:
                self.trouble.append(f"FailedPostStartHook: {error}")
                podman("kill", "--signal", "KILL", name, check=False)

    def _watch(self, one: Container, name: str, pid: int) -> None:
        """Wait for its end, and start it again where the Pod's policy says so."""
        if pid:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                pass
            else:
                select.select([descriptor], [], [])
                os.close(descriptor)
        try:
            code = int(podman("wait", "--interval", "50ms", name))
        except (RuntimeError, ValueError):
            code = -1
        one.exit_codes.append(code)
        self._say(one.name, f"exited {code}")
        one.exited.set()
        if self._ending.is_set() or not self._restarts(one, code):
            return
        if not self._ending.wait(BACKOFF_S[min(one.restarts, len(BACKOFF_S) - 1)]):
            try:
                self._launch(one)
            except (RuntimeError, LookupError, subprocess.SubprocessError) as error:
                # Its Pod may be gone meanwhile.
                self.trouble.append(str(error))

    def _restarts(self, one: Container, code: int) -> bool:
        if one.role == "init":
            return False
        policy = "Always" if one.role == "sidecar" else self.spec.get("restartPolicy", "Always")
        return policy == "Always" or (policy == "OnFailure" and code != 0)

    def _finish(self, one: Container) -> None:
        one.exited.wait()
        if one.exit_codes[-1] and not self._ending.is_set():
            raise NotStarted(f"init container {one.name}: exit code {one.exit_codes[-1]}: {self.logs(one.name)}")

    def _pass_startup(self, one: Container) -> None:
        probe = one.document.get("startupProbe")
        if probe is None:
            return
        period_s, left = probe.get("periodSeconds", 10), probe.get("failureThreshold", 3)
        self._ending.wait(probe.get("initialDelaySeconds", 0))
        while not self._ending.is_set():
            if self._probe(one, probe):
                self._say(one.name, "startup passed")
                return
            left -= 1
            if left == 0:
                raise NotStarted(f"{one.name}: the startup probe failed {probe['failureThreshold']} times")
            self._ending.wait(period_s)

    def _probe(self, one: Container, probe: Document) -> bool:
        if (ask := probe.get("httpGet")) is None:
            with contextlib.suppress(RuntimeError):
                execute(one.pid, *probe["exec"]["command"])
                return True
            return False
        port = ask["port"]
        if isinstance(port, str):
            port = next(known["containerPort"] for known in one.document["ports"] if known.get("name") == port)
        try:
            status, _ = self.get(ask.get("path", "/"), port)
        except (OSError, http.client.HTTPException):
            return False
        return 200 <= status < 400

    def _complete(self) -> None:
        """Once all applications are done, the sidecars go: that is how a Job completes."""
        apps = [one for one in self._containers if one.role == "app"]
        while not all(one.exited.is_set() and not self._restarts(one, one.exit_codes[-1]) for one in apps):
            if self._ending.wait(0.05):
                return
        self._say("pod", "applications done")
        self.delete()
        self._say("pod", "completed")

    def _end_all(self, containers: list[Container], ends_s: float) -> None:
        enders = [threading.Thread(target=self._end, args=(one, ends_s)) for one in containers]
        for thread in enders:
            thread.start()
        for thread in enders:
            thread.join()

    def _end(self, one: Container, ends_s: float) -> None:
        hook = one.document.get("lifecycle", {}).get("preStop", {})
        if "exec" in hook:
            with contextlib.suppress(RuntimeError):
                execute(one.pid, *hook["exec"]["command"])
        elif "sleep" in hook:
            one.exited.wait(min(hook["sleep"]["seconds"], ends_s - time.monotonic()))
        self._say(one.name, "term")
        podman("kill", "--signal", "TERM", one.names[-1], check=False)
        if not one.exited.wait(max(0.0, ends_s - time.monotonic())):
            self._say(one.name, "kill")
            podman("kill", "--signal", "KILL", one.names[-1], check=False)
            one.exited.wait(10)
