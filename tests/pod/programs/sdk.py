"""An application with Stripe's own SDK, as its README says to use it. Says a JSON line about its start, then one for
each call: `sdk.py job N` makes N and exits; `sdk.py forever` goes on, with a pause between calls, until SIGTERM, and
`sdk.py forever S` for S seconds more.

Where STRIPE_API_BASE is set, it is the SDK's base address, and where SSL_CERT_FILE is, its roots: it brings its own and
reads no variable for others. Nothing else here knows of a sidecar.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import stripe

ended = threading.Event()
pause = threading.Event()
stripe.ca_bundle_path = os.environ.get("SSL_CERT_FILE", stripe.ca_bundle_path)
base = os.environ.get("STRIPE_API_BASE")
options = {"base_addresses": {"api": base}} if base else {}
client = stripe.StripeClient(os.environ.get("STRIPE_API_KEY", "sk_test_none"), max_network_retries=0, **options)


def call(number: int) -> dict[str, object]:
    begun = time.monotonic()
    try:
        customer = client.v1.customers.retrieve(f"cus_{number}")
        told: dict[str, object] = {
            "ok": customer.id == f"cus_{number}",
            "field": str(customer.last_response.headers.get("sidecar")),
        }
    except stripe.StripeError as error:
        told = {"ok": False, "error": f"{type(error).__name__}: {error} {error.http_body}"}
    return {"number": number, "took_s": round(time.monotonic() - begun, 4)} | told


def main(mode: str, number: float) -> int:
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    bundle = Path(os.environ.get("SSL_CERT_FILE", "/nonexistent"))
    certificates = bundle.read_text().count("BEGIN CERTIFICATE") if bundle.exists() else 0
    print(json.dumps({"started": True, "certificates": certificates}), flush=True)
    failed = made = after_sigterm = 0
    ends_s = None
    while mode == "forever" or made < number:
        made += 1
        told = call(made)
        failed += not told["ok"]
        after_sigterm += ended.is_set()
        print(json.dumps(told), flush=True)
        if mode == "forever":
            pause.wait(0.02)
        if ended.is_set():
            ends_s = ends_s or time.monotonic() + number
            if time.monotonic() >= ends_s:
                break
    print(json.dumps({"ended": True, "failed": failed, "after_sigterm": after_sigterm}), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
