"""What the admin listener answers with: JSON that a person can read, and problems as RFC 9457 has them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

READABLE = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


def json_answer(document: Any, status: int = 200, content_type: str = "application/json") -> web.Response:
    return web.Response(
        body=orjson.dumps(document, default=str, option=READABLE), status=status, content_type=content_type
    )


def problem_answer(status: int, detail: str, **members: Any) -> web.Response:
    """An error: `detail` is one sentence that says what to do."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return json_answer({**document, **members}, status, "application/problem+json")
