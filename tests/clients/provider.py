"""One fake provider for all SDKs: by the path it knows which of them asks, and answers in their providers' words."""

from __future__ import annotations

import json
import re
import ssl
from typing import Any, Final

from tests.providers import Connection, Provider, Request

MESSAGE: Final = {"role": "assistant", "content": "Hello"}
REPLIES: Final[tuple[tuple[str, int, Any], ...]] = (
    (r"GET /v1/ping", 200, {"pong": True}),
    (r"GET /v1/customers/", 200, {"id": "cus_1", "object": "customer"}),
    (r"POST /v3/mail/send", 202, None),
    (r"GET /services/data/v[0-9.]+/query", 200, {"totalSize": 1, "done": True, "records": [{"Id": "001"}]}),
    (
        r"GET /crm/.*contacts/1",
        200,
        {
            "id": "1",
            "properties": {},
            "createdAt": "2026-11-22T00:00:00Z",
            "updatedAt": "2026-11-22T00:00:00Z",
            "archived": False,
        },
    ),
    (r"POST /2010-04-01/Accounts/.*/Messages.json", 201, {"sid": "SM1"}),
    (r"POST /api/auth.test", 200, {"ok": True, "team": "acme"}),
    (r"GET /users/octocat", 200, {"login": "octocat", "id": 1, "url": "https://api.github.com/users/octocat"}),
    (
        r"POST /v1/chat/completions",
        200,
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": "any",
            "choices": [{"index": 0, "finish_reason": "stop", "message": MESSAGE}],
        },
    ),
    (
        r"POST /v1/messages",
        200,
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "any",
            "content": [{"type": "text", "text": "Hello"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    ),
)


async def _serve(connection: Connection) -> None:
    while (request := await connection.request()) is not None:
        await connection.send(_reply(request))


def _reply(request: Request) -> bytes:
    asked = f"{request.method.decode()} {request.target.decode()}"
    status, document = next(
        ((status, document) for form, status, document in REPLIES if re.match(form, asked)),
        (404, {"error": f"no SDK was expected to ask for {asked}"}),
    )
    body = b"" if document is None else json.dumps(document).encode()
    head = f"HTTP/1.1 {status} Fine\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def fake_provider(context: ssl.SSLContext) -> Provider:
    return Provider(_serve, context)
