"""Every admin path: what it does, what it answers, what it takes. `/openapi.json` and the index are made from this."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, TypeAlias

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from sidecar.admin import cache
from sidecar.admin.answers import body_of, json_answer, limit_of, problem_answer
from sidecar.admin.port import Row, State
from sidecar.policy.quantities import Duration

Answer: TypeAlias = Callable[[State, web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `fields` names what its JSON answer holds, `query` what may be asked, `refusals` what else it
    may answer."""

    method: str
    path: str
    summary: str
    answer: Answer
    fields: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[int, str] = field(default_factory=dict)
    body: type[BaseModel] | None = None
    content_type: str = "application/json"

    @property
    def twin(self) -> str:
        """Where the same stands as JSON whatever else the path may one day show; empty if nowhere."""
        if self.method != "GET" or self.path.endswith(".json") or self.content_type != "application/json":
            return ""
        return "/index.json" if self.path == "/" else f"{self.path}.json"


class BreakerChange(BaseModel):
    """What to do with a breaker."""

    model_config = ConfigDict(extra="forbid", strict=True)

    state: Literal["forced-open", "forced-closed", "auto"] = Field(
        description="auto lets the breaker decide for itself again."
    )
    for_s: Annotated[Duration, Field(gt=0)] | None = Field(
        None, alias="for", description="How long to hold it there; until further notice when left out."
    )


async def index(state: State, request: web.Request) -> web.Response:
    paths = [{"method": route.method, "path": route.path, "summary": route.summary} for route in ROUTES]
    return json_answer({"service": "sidecar", "paths": paths})


async def livez(state: State, request: web.Request) -> web.Response:
    # That the loop came round to answer is all there is to know.
    return json_answer({"status": "ok"})


async def readyz(state: State, request: web.Request) -> web.Response:
    checks = state.checks()
    ready = all(check.ok for check in checks)
    document: dict[str, object] = {"status": "ready" if ready else "not ready"}
    if "verbose" in request.query:
        document["checks"] = checks
        document["warnings"] = state.troubles()
    return json_answer(document, 200 if ready else 503)


async def startupz(state: State, request: web.Request) -> web.Response:
    document: dict[str, object] = {"status": "started" if state.started else "starting"}
    if "verbose" in request.query:
        document["checks"] = state.checks()
    return json_answer(document, 200 if state.started else 503)


async def metrics(state: State, request: web.Request) -> web.Response:
    exposition, content_type = await state.metrics(request.headers.get("Accept", ""))
    return web.Response(body=exposition, headers={"Content-Type": content_type})


async def policies(state: State, request: web.Request) -> web.Response:
    return json_answer(state.policies())


async def reload(state: State, request: web.Request) -> web.Response:
    if await state.reload():
        return json_answer(state.policies())
    detail = "The policies on disk are not fit, and those in force stay: see `policies.errors`."
    return problem_answer(422, detail, policies=state.policies())


async def breakers(state: State, request: web.Request) -> web.Response:
    return json_answer({"breakers": _of_provider(state.breakers(), request)})


async def change_breaker(state: State, request: web.Request) -> web.Response:
    change = await body_of(request, BreakerChange)
    provider, scope = request.match_info["provider"], request.match_info["scope"]
    breaker = state.force_breaker(provider, scope, change.state, change.for_s)
    if breaker is None:
        return problem_answer(404, "There is no such breaker: /breakers lists those that there are.")
    return json_answer(breaker)


async def limits(state: State, request: web.Request) -> web.Response:
    return json_answer({"limits": _of_provider(state.limits(), request)})


async def unknown(state: State, request: web.Request) -> web.Response:
    return json_answer({"unknown": state.unknown()})


async def authority(state: State, request: web.Request) -> web.Response:
    return json_answer(state.authority())


async def calls(state: State, request: web.Request) -> web.Response:
    rows = _of_provider(state.calls(), request)
    return json_answer({"calls": rows[: limit_of(request, len(rows))]})


async def catalog(state: State, request: web.Request) -> web.Response:
    return json_answer({"providers": _of_provider(state.catalog(), request)})


async def openapi(state: State, request: web.Request) -> web.Response:
    from sidecar.admin.openapi import document  # noqa: PLC0415 - it reads the table below

    return json_answer(document(ROUTES))


def _of_provider(rows: Sequence[Row], request: web.Request) -> Sequence[Row]:
    provider = request.query.get("provider")
    return rows if provider is None else [row for row in rows if row.get("provider") == provider]


_PROVIDER: Final = {"provider": "Only this provider's."}

ROUTES: Final = (
    Route("GET", "/", "Every path of this listener.", index, {"service": "sidecar", "paths": "The paths."}),
    Route("GET", "/livez", "Whether the process is alive.", livez, {"status": "ok"}),
    Route(
        "GET",
        "/readyz",
        "Whether calls are served, and will be for a while.",
        readyz,
        {
            "status": "ready, or not ready",
            "checks": "With `verbose`: each condition, and why it does not hold.",
            "warnings": "With `verbose`: what is done without.",
        },
        query={"verbose": "Say why not."},
        refusals={503: "Not ready."},
    ),
    Route(
        "GET",
        "/startupz",
        "Whether it has been ready once.",
        startupz,
        {"status": "started, or starting", "checks": "With `verbose`: those of `/readyz`."},
        query={"verbose": "Say why not."},
        refusals={503: "Still starting."},
    ),
    Route("GET", "/metrics", "Metrics for Prometheus or OpenMetrics.", metrics, content_type="text/plain"),
    Route(
        "GET",
        "/policies",
        "The policies in force, and what is wrong with those on disk.",
        policies,
        {
            "digest": "SHA-256 of what is in force.",
            "loaded_at": "When it was put in force.",
            "age_s": "Seconds since then.",
            "files": "The files that it was read from.",
            "providers": "The providers that it names.",
            "reloads": "How many reloads there were, and how many failed.",
            "failed_at": "When the last reload failed; null if it did not.",
            "errors": "What the last reload found wrong, with file and line; empty when it is in force.",
            "warnings": "Files that are mounted so that they never change.",
        },
    ),
    Route(
        "POST",
        "/policies/reload",
        "Read the policies again, now.",
        reload,
        refusals={422: "They are not fit; those in force stay."},
    ),
    Route(
        "GET",
        "/breakers",
        "Every breaker: its state and history.",
        breakers,
        {"breakers": "One each."},
        query=_PROVIDER,
    ),
    Route(
        "POST",
        "/breakers/{provider}/{scope}",
        "Open or close a breaker by hand, or let it go.",
        change_breaker,
        refusals={400: "The body is not understood.", 404: "There is no such breaker."},
        body=BreakerChange,
    ),
    Route("GET", "/limits", "Every limiter: its numbers, and who waits.", limits, {"limits": "One each."}, _PROVIDER),
    Route("GET", "/unknown", "Hosts that were called without a policy.", unknown, {"unknown": "One a host."}),
    Route(
        "GET",
        "/authority",
        "Who signs for the hosts whose HTTPS is opened.",
        authority,
        {
            "kind": "`own`, `supplied`, or null while there is none.",
            "directory": "Where applications find what to trust.",
            "expires_in_s": "Seconds until the certificate that signs ends.",
            "certificates": "One each, what signs first.",
        },
    ),
    Route(
        "GET",
        "/calls",
        "The last calls, newest first, with every step's decision.",
        calls,
        {"calls": "One each."},
        query={**_PROVIDER, "limit": "At most so many."},
        refusals={400: "`limit` is no number."},
    ),
    Route(
        "GET",
        "/cache",
        "What is kept: how much, of whom, for how long.",
        cache.cache,
        {"stores": "Each store's size, bound and counts.", "providers": "Each one's share.", "entries": "One a reply."},
        query={**_PROVIDER, "route": "Only this route's.", "tag": "Only with this tag.", "limit": "At most so many."},
        refusals={400: "`limit` is no number."},
    ),
    Route(
        "GET",
        "/cache/{key}",
        "One kept reply, without its body and what could be secret; or each of several under one key.",
        cache.cached,
        {"entries": "One a reply."},
        refusals={404: "Nothing is kept under it."},
    ),
    Route(
        "POST",
        "/cache/purge",
        "Forget kept replies, or take them for stale.",
        cache.purge,
        {"purged": "How many."},
        refusals={400: "The body is not understood.", 404: "No policy has such a provider, route or host."},
        body=cache.Purge,
    ),
    Route(
        "GET",
        "/catalog",
        "Every provider: purpose, owner and health.",
        catalog,
        {"providers": "One each."},
        query=_PROVIDER,
    ),
    Route("GET", "/openapi.json", "This API as an OpenAPI document.", openapi),
)
