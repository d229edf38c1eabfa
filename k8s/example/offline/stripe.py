"""Stands in for Stripe: knows payment intents, and fails every third request, as a provider on a bad day."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qs

numbers = count(1)


class Stripe(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        fields = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        number = next(numbers)
        if self.path != "/v1/payment_intents":
            self.answer(404, {"error": {"type": "invalid_request_error", "message": f"No such path: {self.path}"}})
        elif number % 3 == 0:
            self.answer(503, {"error": {"type": "api_error", "message": "It is a bad day."}})
        else:
            intent = {"id": f"pi_{number}", "object": "payment_intent", "status": "requires_payment_method"}
            self.answer(200, intent | {"amount": int(fields["amount"][0]), "currency": fields["currency"][0]})

    def answer(self, status: int, document: dict[str, object]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 12111), Stripe).serve_forever()
