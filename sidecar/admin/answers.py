"""What the admin listener answers with: JSON that a person can read, and problems as RFC 9457 has them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)
READABLE = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


class RequestError(Exception):
    """A request asks for what there is no sense in: 400, with the text as its detail."""


def json_answer(document: Any, status: int = 200, content_type: str = "application/json") -> web.Response:
    return web.Response(
        body=orjson.dumps(document, default=str, option=READABLE), status=status, content_type=content_type
    )


def problem_answer(status: int, detail: str, **members: Any) -> web.Response:
    """An error: `detail` is one sentence that says what to do."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return json_answer({**document, **members}, status, "application/problem+json")


async def body_of(request: web.Request, model: type[M]) -> M:
    """The body as `model` has it. Raises `RequestError`, which quotes no value of it."""
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        raise RequestError(f"The body is not understood: {_first_fault(error)}.") from None


def limit_of(request: web.Request, default: int) -> int:
    """How many rows are asked for. Raises `RequestError`."""
    text = request.query.get("limit") or str(default)
    if not (text.isascii() and text.isdigit()):
        raise RequestError("`limit` is a whole number.")
    return int(text[:9])


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    where, what = ".".join(str(part) for part in fault["loc"]), fault["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
