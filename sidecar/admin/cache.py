"""`/cache`: what is kept, and how to be rid of it."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sidecar.admin.answers import RequestError, body_of, json_answer, limit_of, problem_answer
from sidecar.admin.port import Selection, State
from sidecar.errors import ClientError

SHOWN: Final = 100
"""Entries, unless `limit` says otherwise."""
SHOWN_MOST: Final = 10_000


class Purge(BaseModel):
    """Which kept replies to forget."""

    model_config = ConfigDict(extra="forbid", strict=True)

    provider: str | None = Field(None, description="All of this provider's.")
    route: str | None = Field(None, description="With `provider`: only this route's.")
    url: str | None = Field(
        None,
        description="All of this URL, whoever asked: the provider's, or the sidecar's own; with * at its end, all that"
        " begin so.",
    )
    tag: str | None = Field(None, description="All with this tag.")
    key: str | None = Field(None, description="As /cache shows it, or its first digits, at least eight.")
    all: bool = Field(False, description="Everything.")
    soft: bool = Field(False, description="Take them for stale: asked for anew, but at hand if the provider fails.")

    @model_validator(mode="after")
    def _names_one_thing(self) -> Purge:
        given = [self.provider, self.url, self.tag, self.key, self.all or None]
        if len(given) - given.count(None) != 1:
            raise ValueError("expected one of provider, url, tag, key, or all: true")
        if self.route is not None and self.provider is None:
            raise ValueError("expected the provider of the route, too")
        return self


async def cache(state: State, request: web.Request) -> web.Response:
    asked = {name: request.query.get(name) for name in ("provider", "route", "tag")}
    return json_answer(await state.cache(Selection(**asked), min(limit_of(request, SHOWN), SHOWN_MOST)))


async def cached(state: State, request: web.Request) -> web.Response:
    entries = await state.cached(request.match_info["key"])
    if not entries:
        return problem_answer(404, "Nothing is kept under this key: /cache lists what is.")
    return json_answer({"entries": entries})


async def purge(state: State, request: web.Request) -> web.Response:
    asked = await body_of(request, Purge)
    which = Selection(asked.provider, asked.route, asked.tag, asked.key, asked.url)
    try:
        purged = await state.purge(which, asked.soft)
    except ClientError as error:
        raise RequestError(f"The body is not understood: url: {error.detail}.") from None
    if purged is None:
        return problem_answer(404, "No policy has such a provider, route or host: /policies and /catalog list them.")
    return json_answer({"purged": purged})
