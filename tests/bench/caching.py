"""What a cache costs and spares: a hit, a miss that is kept, and a crowd that wants the same."""

from __future__ import annotations

from contextlib import ExitStack

from tests.bench import load
from tests.bench.load import Workload
from tests.bench.measures import Plan
from tests.bench.peers import DAEMONS, PEERS, Running, diskless, running
from tests.bench.sheet import Measure, Sheet
from tests.bench.site import page

CACHING = ("image", "sidecar", "pure", "envoy", "nginx")
CROWD = 1_000
SIZE = "0.5 KiB"
HIT = Workload("GET", SIZE, place="kept/kept")
MISS = Workload("GET", SIZE, place="kept/kept", distinct=True)
PASSED = Workload("GET", SIZE, place="bench/kept", distinct=True)
"""The same replies without a cache."""

HIT_CPU = Measure("CPU per call, a hit from memory", "µs", 1, most=20)
HIT_CALLS = Measure("calls per second, a hit from memory", "")
MISS_RATIO = Measure("CPU per call, a miss that is kept to one passed on", "×", 2, most=1.15)
DISK_RATIO = Measure("the same, kept on disk, too", "×", 2)
EQUAL = Measure(f"calls to the provider for {CROWD:,} equal ones at once", "", most=1)


def caches(plan: Plan, sheet: Sheet) -> None:
    """Everyone who has a cache, in memory (nginx: in files that the kernel has in memory)."""
    with ExitStack() as stack:
        proxies: list[tuple[Running, Measure]] = []
        for name in (name for name in CACHING if name in plan.proxies):
            peer = PEERS[name](plan.site)
            with sheet.measuring(f"{name}: cache"):
                alone = diskless(peer) if name in DAEMONS else peer
                proxies.append((stack.enter_context(running(alone, plan.cores.proxy)), MISS_RATIO))
            if name in DAEMONS:
                with sheet.measuring(f"{name}: cache on disk"):
                    on_disk = running(PEERS[name](plan.site), plan.cores.proxy)
                    proxies.append((stack.enter_context(on_disk), DISK_RATIO))
        for number in range(plan.rounds):
            for proxy, miss_ratio in proxies:
                with sheet.measuring(f"{proxy.name}: {miss_ratio.title}"):
                    one_round(plan, sheet, proxy, miss_ratio, number)


def one_round(plan: Plan, sheet: Sheet, proxy: Running, miss_ratio: Measure, number: int) -> None:
    """The two costs of a miss are read side by side, since only their ratio counts."""
    passed, missed = (saturated(plan, proxy, workload).cpu_us for workload in (PASSED, MISS))
    sheet.add(miss_ratio, proxy.name, missed / passed)
    if miss_ratio is DISK_RATIO:
        return
    hit = saturated(plan, proxy, HIT)
    sheet.add(HIT_CPU, proxy.name, hit.cpu_us)
    sheet.add(HIT_CALLS, proxy.name, hit.calls_per_s)
    asked_before = plan.site.crowd.asked
    load.equal_calls(proxy.port, f"/crowd/{page(SIZE)}?{proxy.name}={number}", CROWD)
    sheet.add(EQUAL, proxy.name, plan.site.crowd.asked - asked_before)


def saturated(plan: Plan, proxy: Running, workload: Workload) -> load.Carried:
    return load.saturate(proxy.process, proxy.port, workload, plan.seconds, plan.cores)
