"""What HTTPS costs whose TLS the proxy ends: TLS on both sides, under a certificate for the provider's name."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from tests.bench import load
from tests.bench.load import Workload
from tests.bench.measures import Plan
from tests.bench.peers import DAEMONS, PEERS, Running, opening, running
from tests.bench.sheet import Measure, Sheet
from tests.bench.site import OPENED_HOST

OPENING = ("image", "sidecar", "pure", "envoy", "nginx")
PLAIN = Workload("GET", "0.5 KiB")
OPENED = Workload("GET", "0.5 KiB", place="", host=OPENED_HOST)
LARGE = replace(OPENED, size="16 KiB")
ALONE = replace(OPENED, alone=True)

OPENED_CPU = Measure("CPU per call, HTTPS opened", "µs", 1, most_ratio=0.75)
OPENED_CALLS = Measure("calls per second, HTTPS opened", "")
LARGE_CPU = Measure("CPU per call, HTTPS opened, GET 16 KiB", "µs", 1, most_ratio=0.75)
TO_PLAIN = Measure("CPU per call, HTTPS opened to HTTP", "×", 2)
ALONE_CPU = Measure("CPU per call, HTTPS opened, a connection each", "µs", 1)


def opens(plan: Plan, sheet: Sheet) -> None:
    """Everyone who can end TLS, by turns."""
    with ExitStack() as stack:
        proxies: list[Running] = []
        for name in (name for name in OPENING if name in plan.proxies):
            with sheet.measuring(f"{name}: HTTPS"):
                peer = PEERS[name](plan.site)
                opener = opening(peer) if name in DAEMONS else peer
                proxies.append(stack.enter_context(running(opener, plan.cores.proxy)))
        for proxy in proxies:
            with sheet.measuring(f"{proxy.name}: HTTPS, warm-up"):
                load.saturate(proxy.process, proxy.https_port, OPENED, 1, plan.cores)
        # One workload after the other, and all proxies by turns within each: what is compared was measured side by
        # side, and not behind thousands of new connections, whose remains the kernel goes on clearing up.
        for one_round in (small_calls, large_calls, new_connections):
            for _ in range(plan.rounds):
                for proxy in proxies:
                    with sheet.measuring(f"{proxy.name}: HTTPS"):
                        one_round(plan, sheet, proxy)


def small_calls(plan: Plan, sheet: Sheet, proxy: Running) -> None:
    plain = load.saturate(proxy.process, proxy.port, PLAIN, plan.seconds, plan.cores)
    opened = load.saturate(proxy.process, proxy.https_port, OPENED, plan.seconds, plan.cores)
    sheet.add(OPENED_CPU, proxy.name, opened.cpu_us)
    sheet.add(OPENED_CALLS, proxy.name, opened.calls_per_s)
    sheet.add(TO_PLAIN, proxy.name, opened.cpu_us / plain.cpu_us)


def large_calls(plan: Plan, sheet: Sheet, proxy: Running) -> None:
    large = load.saturate(proxy.process, proxy.https_port, LARGE, plan.seconds, plan.cores)
    sheet.add(LARGE_CPU, proxy.name, large.cpu_us)


def new_connections(plan: Plan, sheet: Sheet, proxy: Running) -> None:
    alone = load.saturate(proxy.process, proxy.https_port, ALONE, plan.seconds, plan.cores)
    sheet.add(ALONE_CPU, proxy.name, alone.cpu_us)
