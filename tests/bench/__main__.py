"""Compare the daemon with Envoy, nginx and an aiohttp proxy. Exits with 1 if anything could not be measured."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import caching, measures, opened
from tests.bench.machine import BenchError, choose_cores, describe, raise_file_limit
from tests.bench.measures import SMALL, WORKLOADS, Plan
from tests.bench.peers import PEERS, has_image
from tests.bench.sheet import Sheet
from tests.bench.site import Site

PHASES = {
    "load": measures.under_load,
    "rest": measures.at_rest,
    "memory": measures.in_memory,
    "policies": measures.many_policies,
    "cache": caching.caches,
    "https": opened.opens,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each proxy takes its turn")
    parser.add_argument("--seconds", type=int, default=5, help="of load in each turn")
    parser.add_argument("--quick", action="store_true", help="one round of 2 s, and GET 0.5 KiB only")
    usual = [name for name in PEERS if name != "image" or has_image()]
    parser.add_argument("--proxies", default=",".join(usual), help="a comma between those to compare")
    parser.add_argument("--phases", default=",".join(PHASES), help="a comma between those to go through")
    parser.add_argument("--out", type=Path, default=Path("bench-out/bench.json"))
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 2
    for given, known in ((options.proxies, PEERS), (options.phases, PHASES)):
        if unknown := set(given.split(",")) - set(known):
            parser.error(f"expected {', '.join(known)}, got {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    options = arguments()
    machine, cores = describe(), choose_cores()
    raise_file_limit()
    os.sched_setaffinity(0, {cores.load})
    if cores.proxy == cores.load:
        print("one core only: the load takes its share of it, so trust the CPU time and not the rest", file=sys.stderr)
    proxies = options.proxies.split(",")
    sheet = Sheet(ours="image" if "image" in proxies else "sidecar")
    with TemporaryDirectory(prefix="bench-") as folder:
        site = Site(Path(folder), cores.load)
        plan = Plan(
            site=site,
            cores=cores,
            proxies=proxies,
            workloads=(SMALL,) if options.quick else WORKLOADS,
            rounds=options.rounds,
            seconds=options.seconds,
            connections=10_000,
            other_policies=1_000,
        )
        try:
            site.start()
            for phase in options.phases.split(","):
                PHASES[phase](plan, sheet)
        except BenchError as error:
            sheet.missing.append(str(error))
        finally:
            site.stop()
        spans = site.collector.spans()
    for name in {"image", "sidecar", "envoy"}.intersection(proxies) if "load" in options.phases else ():
        if not spans[name]:
            sheet.missing.append(f"{name}: exported no span, so its tracing was not part of the cost")
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "spans": dict(spans),
    }
    sheet.write(options.out, about)
    print(sheet.table(proxies))
    print(f"\n{options.rounds} rounds of {options.seconds:g} s on {machine['cores']} cores, in full: {options.out}")
    for what in sheet.missing:
        print(f"not measured: {what}", file=sys.stderr)
    return 1 if sheet.missing else 0


if __name__ == "__main__":
    sys.exit(main())
