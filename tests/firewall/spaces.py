"""Network namespaces of the test's own: a pod, and a provider's machine at the other end of its wire.

Each lives as long as a process of ours that holds it, so nothing is left behind, however the test ends.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.real import lacking, need

ROOT = Path(__file__).parents[2]
POD = ("192.0.2.1", "2001:db8::1")
PROVIDER = ("192.0.2.2", "2001:db8::2")
SPARED = ("198.51.100.2", "2001:db8:5::2")
"""The provider's machine once more, in networks that a test leaves out."""


class Namespace:
    """One network namespace. Skips where this machine gives us none."""

    def __init__(self) -> None:
        command = [need("unshare"), "--net", need("cat")]
        self._holder = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._others: list[subprocess.Popen[str]] = []
        try:
            # What comes back says that the process is in the namespace.
            print("ready", file=self._holder.stdin, flush=True)
            echoed = self._read_line(self._holder)
        except BrokenPipeError:
            echoed = ""
        if echoed != "ready":
            lacking(f"no network namespace can be made here: {self._holder.communicate()[1].strip()}")
        self.pid = self._holder.pid

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._inside(command), cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    def do(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def start(self, *command: str) -> None:
        """A process that runs on; it has said a line when this returns."""
        process = subprocess.Popen(self._inside(command), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self._others.append(process)
        assert self._read_line(process) == "ready"

    def start_quietly(self, log: Path, *command: str) -> None:
        """The same for one that does not say when it is there; what it says is in `log`."""
        with log.open("wb") as out:
            self._others.append(
                subprocess.Popen(self._inside(command), cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, text=True)
            )

    def close(self) -> None:
        for process in (*self._others, self._holder):
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def _inside(self, command: tuple[str, ...]) -> list[str]:
        return [need("nsenter"), f"--net=/proc/{self.pid}/ns/net", "--", *command]

    @staticmethod
    def _read_line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()


class Spaces:
    """The pod and the provider's machine, joined by a pair of virtual cables. Skips where there are none."""

    def __init__(self) -> None:
        self.pod = Namespace()
        self.provider = Namespace()
        try:
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self) -> None:
        peer = f"name eth0 netns {self.provider.pid}"
        self._ip(self.pod, f"link add eth0 type veth peer {peer}")
        for space, (v4, v6) in ((self.pod, POD), (self.provider, PROVIDER)):
            self._ip(space, "link set lo up")
            self._ip(space, "link set eth0 up")
            self._ip(space, f"address add {v4}/24 dev eth0")
            self._ip(space, f"address add {v6}/64 dev eth0 nodad")
        for gateway, spared in zip(PROVIDER, SPARED, strict=True):
            self._ip(self.pod, f"{'-6' if ':' in gateway else '-4'} route add default via {gateway}")
            self._ip(self.provider, f"address add {spared} dev eth0{' nodad' if ':' in spared else ''}")

    @staticmethod
    def _ip(space: Namespace, words: str) -> None:
        done = space.run(need("ip"), *words.split())
        if done.returncode:
            lacking(f"no network can be made here: `ip {words}`: {done.stderr.strip()}")

    def serve(self) -> None:
        """A provider on every port that a test dials, and in the pod the sidecar's stand-ins and a neighbour."""
        python = sys.executable
        self.provider.start(python, "-m", "tests.firewall.listener", "provider", "53", "80", "443", "5432")
        self.pod.start(python, "-m", "tests.firewall.listener", "neighbour", "8080")
        for loop, port in (("uvloop", "7603"), ("asyncio", "7604"), ("one-socket", "7605")):
            self.pod.start(python, "-m", "tests.firewall.listener", loop, port)

    def dial(self, *targets: tuple[str, int], uid: int = 0) -> list[str]:
        """Who answered each, in the words of `listener.py`; or why nobody did."""
        words = [f"{host} {port}" for host, port in targets]
        return self.pod.do(sys.executable, "-m", "tests.firewall.dial", str(uid), *words).splitlines()

    def firewall(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self.pod.run(sys.executable, "-m", "sidecar", "firewall", *args)

    def close(self) -> None:
        self.pod.close()
        self.provider.close()
