"""What is measured, and how: one function a phase, each writing on the sheet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench import load
from tests.bench.load import Workload
from tests.bench.machine import BenchError, Cores, until
from tests.bench.peers import DAEMONS, PEERS, Running, bench_policies, running, unobserved
from tests.bench.sheet import Measure, Sheet
from tests.bench.site import KIB, SIZES, Site, page

MIB = KIB * KIB
SMALL = Workload("GET", "0.5 KiB")
SHIPPED = Path(__file__).parents[2] / "policies"
WORKLOADS = tuple(Workload(method, size) for method in ("GET", "POST") for size in SIZES)

START = Measure("start to ready", "ms", most=800)
RESIDENT = Measure("resident memory, idle", "MiB", 1, most=60)
RESIDENT_EXPORTING = Measure("resident memory, idle, with a collector", "MiB", 1)
CONNECTION = Measure("memory per idle connection", "KiB", 1, most=16)
DOWN = Measure("memory grown by 1 GiB down", "MiB", 1, most=4)
UP = Measure("memory grown by 1 GiB up", "MiB", 1, most=4)
MANY = Measure("CPU per call, 1,000 policy files to 1", "×", 2, most=2)
RATE = Measure("open load: calls per second", "")
P50 = Measure("open load: latency p50", "µs")
P99 = Measure("open load: latency p99", "µs")
ADDED_P50 = Measure("open load: added latency p50", "µs")
LATE_P99 = Measure("open load: sent late by, p99", "µs")
ADDED_P99 = Measure("open load: added latency p99", "µs", most_ratio=1.0)


def cpu(workload: Workload) -> Measure:
    return Measure(f"CPU per call, {workload.title}", "µs", 1, most_ratio=0.75)


def calls(workload: Workload) -> Measure:
    return Measure(f"calls per second, {workload.title}", "")


def busy(workload: Workload) -> Measure:
    return Measure(f"share of its core used, {workload.title}", "", 2, aside=True)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    site: Site
    cores: Cores
    proxies: Sequence[str]
    workloads: Sequence[Workload]
    rounds: int
    seconds: int
    connections: int
    other_policies: int


def under_load(plan: Plan, sheet: Sheet) -> None:
    """All proxies run; each takes its turn in every round, so that a slow minute of the machine hits them alike."""
    with ExitStack() as stack:
        proxies: list[Running] = []
        for name in plan.proxies:
            with sheet.measuring(f"{name} under load"):
                proxies.append(stack.enter_context(running(PEERS[name](plan.site), plan.cores.proxy)))
        for proxy in proxies:
            with sheet.measuring(f"{proxy.name}: warm-up"):
                load.saturate(proxy.process, proxy.port, SMALL, 1, plan.cores)
        for _ in range(plan.rounds):
            for workload in plan.workloads:
                for proxy in proxies:
                    saturated(plan, sheet, proxy, workload)
        for _ in range(plan.rounds):
            at_open_rate(plan, sheet, proxies)


def saturated(plan: Plan, sheet: Sheet, proxy: Running, workload: Workload) -> None:
    with sheet.measuring(f"{proxy.name}: {workload.title}"):
        carried = load.saturate(proxy.process, proxy.port, workload, plan.seconds, plan.cores)
        sheet.add(cpu(workload), proxy.name, carried.cpu_us)
        sheet.add(calls(workload), proxy.name, carried.calls_per_s)
        sheet.add(busy(workload), proxy.name, carried.cpu_us * carried.calls_per_s / 1e6)


def at_open_rate(plan: Plan, sheet: Sheet, proxies: Sequence[Running]) -> None:
    """Half of what the slower of the daemon and Envoy can carry. What the path costs without a proxy is taken off."""
    saturation = [sheet.median(calls(SMALL), name) for name in (sheet.ours, "envoy")]
    carried = [value for value in saturation if value is not None]
    if not carried:
        sheet.missing.append("open load: neither the daemon nor Envoy carried any calls")
        return
    rate_per_s = min(carried) / 2
    with sheet.measuring("open load without a proxy"):
        direct = load.open_load(plan.site.direct_port, f"/{page('0.5 KiB')}", rate_per_s, plan.seconds, plan.cores)
        for proxy in proxies:
            with sheet.measuring(f"{proxy.name}: open load"):
                if (sheet.median(calls(SMALL), proxy.name) or 0) < rate_per_s * 1.1:
                    continue  # the naive proxy may not hold this rate at all: a dash in the table says so
                figures = load.open_load(proxy.port, SMALL.target, rate_per_s, plan.seconds, plan.cores)
                sheet.add(RATE, proxy.name, rate_per_s)
                sheet.add(LATE_P99, proxy.name, figures["late_p99_us"])
                sheet.add(P50, proxy.name, figures["p50_us"])
                sheet.add(P99, proxy.name, figures["p99_us"])
                sheet.add(ADDED_P50, proxy.name, figures["p50_us"] - direct["p50_us"])
                sheet.add(ADDED_P99, proxy.name, figures["p99_us"] - direct["p99_us"])


def at_rest(plan: Plan, sheet: Sheet) -> None:
    """A fresh process each: how soon it is ready, and what it holds when nothing goes on."""
    for _ in range(max(plan.rounds, 3)):
        for name in plan.proxies:
            with sheet.measuring(f"{name}: start"):
                peer = unobserved(DAEMONS[name](plan.site, SHIPPED)) if name in DAEMONS else PEERS[name](plan.site)
                with running(peer, plan.cores.proxy) as proxy:
                    sheet.add(START, name, proxy.ready_s * 1e3)
                    sheet.add(RESIDENT, name, settled_bytes(proxy) / MIB)
        for name in DAEMONS.keys() & set(plan.proxies):
            peer = DAEMONS[name](plan.site, SHIPPED)
            with sheet.measuring(f"{name}: exporting"), running(peer, plan.cores.proxy) as proxy:
                sheet.add(RESIDENT_EXPORTING, name, settled_bytes(proxy) / MIB)


def in_memory(plan: Plan, sheet: Sheet) -> None:
    """A fresh process each: what idle connections and long bodies add to it."""
    for name in plan.proxies:
        with sheet.measuring(f"{name}: idle connections"), running(PEERS[name](plan.site), plan.cores.proxy) as proxy:
            before = warm_bytes(proxy)
            with load.idle_connections(proxy.port, plan.connections):
                sheet.add(CONNECTION, name, (settled_bytes(proxy) - before) / plan.connections / KIB)
        for measure, stream in ((DOWN, load.download), (UP, load.upload)):
            with (
                sheet.measuring(f"{name}: {measure.title}"),
                running(PEERS[name](plan.site), plan.cores.proxy) as proxy,
            ):
                before = warm_bytes(proxy)
                most = max(stream(proxy))
                sheet.add(measure, name, (most - before) / MIB)


def many_policies(plan: Plan, sheet: Sheet) -> None:
    """The daemon with its policies among a thousand others, against the daemon with its policies alone."""
    with sheet.measuring(f"{sheet.ours}: 1,000 policy files"), ExitStack() as stack:
        few, many = (
            stack.enter_context(
                running(DAEMONS[sheet.ours](plan.site, bench_policies(plan.site, others)), plan.cores.proxy)
            )
            for others in (0, plan.other_policies)
        )
        for proxy in (few, many):
            load.saturate(proxy.process, proxy.port, SMALL, 1, plan.cores)
        for _ in range(plan.rounds):
            costs = [
                load.saturate(proxy.process, proxy.port, SMALL, plan.seconds, plan.cores).cpu_us
                for proxy in (few, many)
            ]
            sheet.add(MANY, sheet.ours, costs[1] / costs[0])


def warm_bytes(proxy: Running) -> int:
    """Resident memory after a first call: what is loaded once is not what a call costs."""
    with load.connected(proxy.port) as sock:
        for _ in range(20):
            load.one_call(sock, proxy.port)
    return settled_bytes(proxy)


def settled_bytes(proxy: Running) -> int:
    """Resident memory, when it has stopped changing."""
    seen: list[int] = []

    def still() -> bool:
        seen.append(proxy.process.resident_bytes())
        return len(seen) > 3 and len(set(seen[-3:])) == 1

    until(still, within_s=5, step_s=0.2)
    if not proxy.process.running:
        raise BenchError(f"{proxy.name} ended: {proxy.process.last_words()}")
    return seen[-1]
