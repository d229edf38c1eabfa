"""A shop's till: GET /charge makes a payment by Stripe's own SDK, GET /healthz says that the till is open.

It knows nothing of a sidecar. From its environment it takes its key, and the roots that it shall trust: the SDK brings
a list of its own and reads no variable for another.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import stripe

stripe.ca_bundle_path = os.environ.get("SSL_CERT_FILE", stripe.ca_bundle_path)
# Who calls through a sidecar leaves retries to it: two who retry multiply.
till = stripe.StripeClient(os.environ["STRIPE_API_KEY"], max_network_retries=0)


def charge() -> tuple[int, dict[str, object]]:
    try:
        intent = till.v1.payment_intents.create({"amount": 1999, "currency": "eur"})
    except stripe.StripeError as error:
        return error.http_status or 502, {"error": str(error)}
    return 200, {"id": intent.id, "amount": intent.amount, "status": intent.status}


class Counter(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        routes = {"/charge": charge, "/healthz": lambda: (200, {"till": "open"})}
        status, answer = routes.get(self.path, lambda: (404, {"error": "GET /charge or /healthz"}))()
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Probes would fill the log."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Counter).serve_forever()
