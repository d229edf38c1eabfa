"""The policy of the demo's provider: as a user would write it, with times that suit a bad day of half a minute."""

from __future__ import annotations

from typing import Final

from sidecar.demo.script import Tempo

PROVIDER: Final = "acme"
POLICY: Final = """\
provider: acme
about: {{purpose: Products and rates and orders, owner: demo}}
hosts: [api.acme.example]
upstream: http://127.0.0.1:{port}

timeouts: {{connect: {connect}, attempt: {attempt}, total: {total}}}
retry: {{attempts: 3, backoff: {{base: {backoff}, cap: {attempt}}}}}
breaker:
  consecutive: 5
  failure_ratio: {{over: 50%, window: {window}, min_calls: 10}}
  open: {{base: {open}, cap: {open_most}}}

routes:
  - name: get-product
    match: {{method: GET, path: "/products/{{id}}"}}
    cache: {{ttl: {ttl}, stale: 1h}}
  - name: get-rates
    match: {{method: GET, path: /rates}}
    fallback: [{{status: 200, json: {{base: EUR, rates: {{}}}}}}]
  - name: create-order
    match: {{method: POST, path: /orders}}
    timeouts: {{attempt: {order_attempt}, total: {order_total}}}
"""
TIMES_S: Final = {
    "connect": 0.3,
    "attempt": 0.4,
    "total": 2.0,
    "backoff": 0.05,
    "window": 4.0,
    "open": 1.0,
    "open_most": 2.0,
    "ttl": 1.5,
    "order_attempt": 2.5,
    "order_total": 2.9,
}
SHORTEST_S: Final = {"window": 1.0, "attempt": 0.15, "order_attempt": 0.5, "order_total": 0.6}
"""What must not shrink further, however fast the story runs: a rule of the format, and what a busy machine needs."""


def policy_for(port: int, tempo: Tempo) -> str:
    """The policy's YAML, for a provider on this port of loopback."""
    times = {
        name: f"{max(SHORTEST_S.get(name, 0.02), tempo.real_s(story_s)) * 1e3:.0f}ms"
        for name, story_s in TIMES_S.items()
    }
    return POLICY.format(port=port, **times)
